"""Is a service as it was asked to be, on all its nodes? A pure function of the Tambourine and of its nodes' reports.

Each node is judged as the host's own command line judges it (`cli.verdict`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tambourinefs.cli.common.verdict import Goal, Outcome, Verdict
from tambourinefs.cli.common.verdict import verdict as of_host
from tambourinefs.cli.plugin.objects import report_of
from tambourinefs.model.cluster import SILENT
from tambourinefs.model.status import ACCEPTED, READY, condition_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tambourinefs.cli.plugin.objects import Service
    from tambourinefs.model import cluster
    from tambourinefs.model.status import Condition

UNSEEN: Final = Verdict(
    Outcome.PENDING, "", "Waiting", "the controller has not looked at this generation yet"
)
# Of a Tambourine's Ready: what only a person, or a node that is not there, can change.
_STOPPED: Final = frozenset({"NoNodes", "RolloutPaused", "RolloutStopped"})


@dataclass(frozen=True, slots=True)
class Judged:
    """The verdict on all of it, and on each node that reports it."""

    verdict: Verdict
    nodes: Mapping[str, Verdict]

    @property
    def done(self) -> int:
        """How many nodes are as asked."""
        return sum(verdict.outcome is Outcome.AS_ASKED for verdict in self.nodes.values())


def judge(goal: Goal, service: Service | None, instances: Sequence[cluster.Instance]) -> Judged:
    """`service` None: it is gone, or another has its name."""
    if service is None or service.metadata.uid != goal.uid:
        gone = "it was deleted meanwhile"
        return Judged(Verdict(Outcome.NOT_AS_ASKED, "", "Gone", gone), {})
    if service.metadata.deletion_timestamp:
        going = "it is being deleted"
        return Judged(Verdict(Outcome.NOT_AS_ASKED, "", "Deleting", going), {})
    nodes = {item.spec.node_name: _of_node(goal, item) for item in instances}
    return Judged(_whole(goal, service, nodes), nodes)


def _of_node(goal: Goal, instance: cluster.Instance) -> Verdict:
    ready = condition_of(instance.status.conditions, READY)
    if ready is not None and ready.reason in SILENT:
        return Verdict(Outcome.NOT_AS_ASKED, READY, ready.reason, ready.message)
    return of_host(goal, report_of(instance))


def _whole(goal: Goal, service: Service, nodes: Mapping[str, Verdict]) -> Verdict:
    status = service.status
    if status.observed_generation < goal.generation:
        return UNSEEN
    ready = condition_of(status.conditions, READY)
    accepted = condition_of(status.conditions, ACCEPTED)
    if accepted is not None and accepted.reason == "InvalidManifest" and not nodes:
        return Verdict(Outcome.INVALID, ACCEPTED, accepted.reason, accepted.message)
    if ready is not None and ready.status != "True" and ready.reason in _STOPPED:
        return _stopped(ready, nodes)
    wanted = max(status.nodes.desired, len(nodes))
    settled = [verdict for verdict in nodes.values() if verdict.settled]
    if len(settled) < wanted:
        return Verdict(Outcome.PENDING, "", "Progressing", _progress(nodes, wanted))
    bad = _worst(nodes)
    if bad:
        return bad
    if (
        ready is None or ready.status != "True"
    ):  # the summary comes a moment after the nodes' own word
        return Verdict(Outcome.PENDING, "", "Progressing", _progress(nodes, wanted))
    return Verdict(Outcome.AS_ASKED, READY, ready.reason, ready.message)


def _stopped(ready: Condition, nodes: Mapping[str, Verdict]) -> Verdict:
    """The rollout goes no further: as bad as the worst node, and at least not as asked."""
    bad = _worst(nodes)
    outcome = bad.outcome if bad else Outcome.NOT_AS_ASKED
    return Verdict(outcome, READY, ready.reason, ready.message)


def _worst(nodes: Mapping[str, Verdict]) -> Verdict | None:
    """The verdict with the highest exit code, with its node's name; None where none is bad."""
    bad = {
        node: verdict
        for node, verdict in nodes.items()
        if verdict.settled and verdict.outcome is not Outcome.AS_ASKED
    }
    if not bad:
        return None
    node = max(sorted(bad), key=lambda name: bad[name].outcome.value)
    others = f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""
    worst = bad[node]
    return worst._replace(message=f"{node}{others}: {worst.message}".rstrip(": "))


def _progress(nodes: Mapping[str, Verdict], wanted: int) -> str:
    """`1 of 3 nodes done; h2: Ready: Starting`: the first that is not done stands for all."""
    done = sum(verdict.outcome is Outcome.AS_ASKED for verdict in nodes.values())
    text = f"{done} of {wanted} nodes done"
    waiting = next((node for node in sorted(nodes) if not nodes[node].settled), "")
    if waiting:
        verdict = nodes[waiting]
        text += f"; {waiting}: {verdict.about or verdict.reason}"
        text += f": {verdict.reason}" if verdict.about else ""
    return text
