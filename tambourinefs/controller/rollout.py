"""Which nodes get a change now, and why a rollout stops. Pure, of one Snapshot.

A rollout stops, and `Progress.stopped` says why, where
  - `spec.rollout.paused` is set;
  - a node that has the change reports Ready=False with it (`_failure`).
It waits, without being stopped, while `spec.rollout.maxUnavailable` nodes are not available with the change: not Ready, or
Ready for less than availability.MIN_READY_SECONDS. The summary turns `stopped` into Ready=False, reason RolloutStopped or
RolloutPaused (summary.py).
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass

from tambourinefs.controller.snapshot import Service, Snapshot
from tambourinefs.model.cluster import Assignment
from tambourinefs.model.schema import Rollout

# Reasons of Ready=False that are not a failure yet; "" is an instance without a reason.
IN_PROGRESS = frozenset({"Starting", "Stopping", "Applying", ""})


@dataclass(frozen=True, slots=True)
class Progress:
    """What a rollout does now."""

    update: frozenset[str] = frozenset()  # nodes that get the change now
    stopped: str = ""  # why no more nodes get it; "" while the rollout goes on


def advance(
    snapshot: Snapshot, service: Service, updated: Collection[str], outdated: Collection[str]
) -> Progress:
    """The next step of a rollout. `updated` nodes are assigned the change already, `outdated` ones are not."""
    assert service.spec is not None
    if not outdated:
        return Progress()
    rollout = service.spec.rollout
    if rollout.paused:
        return Progress(stopped="the rollout is paused (spec.rollout.paused)")
    lost = {name for name in outdated if name in snapshot.lost}
    counted = sorted(name for name in updated if name not in snapshot.lost)
    for name in counted:
        if failure := _failure(snapshot, service, name):
            return Progress(stopped=failure)
    unavailable = sum(not _is_available(snapshot, service, name) for name in counted)
    budget = max_unavailable(rollout, len(updated) + len(outdated)) - unavailable
    # First those that are not Ready: they lose nothing by the change. A lost node is no risk either and does not count.
    candidates = sorted(
        set(outdated) - lost,
        key=lambda name: (_is_ready(snapshot, service, name), name),
    )
    return Progress(frozenset(candidates[: max(0, budget)]) | lost)


def max_unavailable(rollout: Rollout, nodes: int) -> int:
    """How many nodes may be unavailable at a time: at least 1; a percentage is rounded down, as a Deployment's is."""
    bound = rollout.max_unavailable
    if isinstance(bound, int):
        return max(1, bound)
    return max(1, math.floor(int(bound.removesuffix("%")) * nodes / 100))


def assignment(service: Service) -> Assignment:
    """What a node is assigned that gets the service as it is now."""
    assert service.spec is not None
    return Assignment(
        uid=service.uid,
        namespace=service.namespace,
        name=service.name,
        generation=service.generation,
        creation_timestamp=service.created,
        revision=service.revision,
        digest=service.digest,
        spec_state=service.spec.state,
        command=service.spec.command or "",
        command_id=service.spec.command_id,
    )


def has_same_effect(one: Assignment, other: Assignment) -> bool:
    """Whether replacing one by the other changes nothing on the host."""
    return (one.digest, one.spec_state, one.command, one.command_id) == (
        other.digest, other.spec_state, other.command, other.command_id,
    )  # fmt: skip


def _failure(snapshot: Snapshot, service: Service, node: str) -> str:
    """Why the change has failed on a node that has it; "" while it is Ready or may become so."""
    report = snapshot.report(service, node)
    current = snapshot.members[node].assignment(service.uid)
    if report is None or current is None or not _has_observed(snapshot, service, node):
        return ""
    if not has_same_effect(current, assignment(service)):
        return ""
    ready = report.ready
    if ready is None or ready.status != "False" or ready.reason in IN_PROGRESS:
        return ""
    return f"{node} is not ready with this change: {ready.reason}: {ready.message}"


def _is_available(snapshot: Snapshot, service: Service, node: str) -> bool:
    """Ready with the change for MIN_READY_SECONDS."""
    current = snapshot.members[node].assignment(service.uid)
    return (
        current is not None
        and (service.uid, node) not in snapshot.available_at
        and has_same_effect(current, assignment(service))
        and _is_ready(snapshot, service, node)
    )


def _is_ready(snapshot: Snapshot, service: Service, node: str) -> bool:
    """Ready with what it is assigned, the change or what was before it."""
    report = snapshot.report(service, node)
    if report is None or not _has_observed(snapshot, service, node):
        return False
    return report.ready is not None and report.ready.status == "True"


def _has_observed(snapshot: Snapshot, service: Service, node: str) -> bool:
    """Whether its report is about what it is assigned."""
    report = snapshot.report(service, node)
    current = snapshot.members[node].assignment(service.uid)
    if report is None or current is None:
        return False
    return report.status.observed_generation >= current.generation
