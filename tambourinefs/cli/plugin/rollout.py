"""How far a goal is on all nodes: a pure function of the Tambourine and of its nodes' reports.

Each node is evaluated as the host's own command line does it (`common.goal.evaluate`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tambourinefs.cli.common.goal import (
    Goal,
    GoalResult,
    GoalState,
    GoalStatus,
    NodeResult,
    evaluate,
)
from tambourinefs.cli.plugin.objects import report_of
from tambourinefs.model.cluster import SILENT
from tambourinefs.model.status import ACCEPTED, READY, condition_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tambourinefs.cli.plugin.objects import TambourineObject
    from tambourinefs.model import cluster

UNOBSERVED: Final = GoalStatus(
    GoalState.UNOBSERVED, "", "Waiting", "the controller has not observed this generation yet"
)
# Reasons of a Tambourine's Ready that only a user or the return of a node changes.
_STOPPED: Final = frozenset({"NoNodes", "RolloutPaused", "RolloutStopped"})


def evaluate_rollout(
    goal: Goal, service: TambourineObject | None, instances: Sequence[cluster.Instance]
) -> GoalResult:
    """`service` None: it does not exist."""
    if service is None or service.metadata.uid != goal.uid:
        return _ended(goal, "Deleted", "it was deleted")
    if service.metadata.deletion_timestamp:
        return _ended(goal, "Deleting", "it is being deleted")
    nodes = {item.spec.node_name: _of_node(goal, item) for item in instances}
    statuses = {name: node.status for name, node in nodes.items()}
    return GoalResult(goal, _whole(goal, service, statuses), nodes)


def _ended(goal: Goal, reason: str, message: str) -> GoalResult:
    return GoalResult(goal, GoalStatus(GoalState.FAILED, "", reason, message), {})


def _of_node(goal: Goal, instance: cluster.Instance) -> NodeResult:
    report = report_of(instance)
    ready = report.condition(READY)
    if ready is not None and ready.reason in SILENT:
        return NodeResult(GoalStatus(GoalState.FAILED, READY, ready.reason, ready.message), report)
    return NodeResult(evaluate(goal, report), report)


def _whole(goal: Goal, service: TambourineObject, nodes: Mapping[str, GoalStatus]) -> GoalStatus:
    status = service.status
    if status.observed_generation < goal.generation:
        return UNOBSERVED
    ready = condition_of(status.conditions, READY)
    accepted = condition_of(status.conditions, ACCEPTED)
    if accepted is not None and accepted.reason == "InvalidManifest" and not nodes:
        return GoalStatus(GoalState.INVALID, ACCEPTED, accepted.reason, accepted.message)
    worst = _worst(nodes)
    if ready is not None and ready.status != "True" and ready.reason in _STOPPED:
        state = worst.state if worst else GoalState.FAILED
        return GoalStatus(state, READY, ready.reason, ready.message)
    expected = max(status.nodes.desired, len(nodes))
    if sum(node.done for node in nodes.values()) < expected:
        return _progress(nodes, expected)
    if worst:
        return worst
    if ready is None or ready.status != "True":
        return _progress(nodes, expected)  # the summary follows the nodes' reports a moment later
    return GoalStatus(GoalState.READY, READY, ready.reason, ready.message)


def _worst(nodes: Mapping[str, GoalStatus]) -> GoalStatus | None:
    """The status with the highest exit code, with its node's name; None where none failed."""
    bad = {
        node: status
        for node, status in nodes.items()
        if status.done and status.state is not GoalState.READY
    }
    if not bad:
        return None
    node = max(sorted(bad), key=lambda name: bad[name].exit_code)
    others = f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""
    worst = bad[node]
    return worst._replace(message=f"{node}{others}: {worst.message}".rstrip(": "))


def _progress(nodes: Mapping[str, GoalStatus], expected: int) -> GoalStatus:
    """`1 of 3 nodes ready; h2: Ready: Starting`: the first node that is not done stands for all."""
    ready = sum(status.state is GoalState.READY for status in nodes.values())
    text = f"{ready} of {expected} nodes ready"
    waiting = next((node for node in sorted(nodes) if not nodes[node].done), "")
    if waiting:
        text += f"; {waiting}: {nodes[waiting]._replace(message='')}"
    return GoalStatus(GoalState.PROGRESSING, "", "Progressing", text)
