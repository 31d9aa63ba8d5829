"""Which node shall have what: pure, of one World.

First installs go everywhere; what changes a running unit goes by the rollout.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import msgspec

from tambourinefs.controller.world import Member, Service, World
from tambourinefs.model import cluster
from tambourinefs.model.cluster import ABSENT, INSTALLED, RELEASED, Assignment
from tambourinefs.model.schema import Rollout

IN_FLIGHT = frozenset({"Starting", "Stopping", "Applying", ""})


@dataclass(frozen=True, slots=True)
class Spread:
    """Where one Tambourine goes."""

    targets: tuple[str, ...]  # nodes that it was chosen for and whose host allows its namespace
    allowing: int  # nodes whose host allows its namespace
    waiting: tuple[str, ...] = ()  # have an older content, by the rollout
    stopped: str = ""  # why the rollout goes no further; "" while it does
    # Nodes whose agent lacks fields that it uses, and which: they keep what they have.
    withheld: tuple[tuple[str, tuple[str, ...]], ...] = ()


@dataclass(slots=True)
class Wanted:
    """The assignments of each node, and where each Tambourine (by uid) goes."""

    assignments: dict[str, dict[str, Assignment]] = field(default_factory=dict)
    spreads: dict[str, Spread] = field(default_factory=dict)


def wanted(world: World) -> Wanted:
    """What every node shall have. What is assigned and not spoken of here stays: absence is no order."""
    found = Wanted({name: _kept(member) for name, member in world.members.items()})
    for service in sorted(world.services.values(), key=lambda item: (item.namespace, item.name)):
        if service.deleted:
            if world.orders:
                _bury(world, service, found)
        elif service.spec is not None:
            _assign(world, service, found)
    return found


def _kept(member: Member) -> dict[str, Assignment]:
    """What the node has, without the tombstones that it carried out."""
    done = {item.uid: item.generation for item in member.status.acknowledged}
    return {
        item.uid: item
        for item in member.assignments
        if item.state == INSTALLED or done.get(item.uid, -1) < item.generation
    }


def _bury(world: World, service: Service, found: Wanted) -> None:
    """Every node that was ever told of it is told to remove it, or to let go of it."""
    for assignments in found.assignments.values():
        entry = assignments.get(service.uid)
        if entry is not None and entry.state == INSTALLED:
            assignments[service.uid] = _tombstone(service, entry, released=service.orphan)
    found.spreads[service.uid] = Spread((), _allowing(world, service))


def _tombstone(service: Service, entry: Assignment, *, released: bool) -> Assignment:
    return msgspec.structs.replace(
        entry,
        state=RELEASED if released else ABSENT,
        generation=max(service.generation, entry.generation),
        revision=entry.revision if released else "",
        digest=entry.digest if released else "",
        command="",
        command_id="",
    )


def _assign(world: World, service: Service, found: Wanted) -> None:
    targets = _targets(world, service)
    lacking = {name: fields for name in targets if (fields := _lacks(world, service, name))}
    wish = _assignment(service)
    changed = []
    for name, assignments in found.assignments.items():
        entry = assignments.get(service.uid)
        if name in lacking:
            continue
        if name in targets:
            if entry is None or entry.state != INSTALLED:
                assignments[service.uid] = wish
            elif _effect(entry) == _effect(wish):
                assignments[service.uid] = wish  # the generation alone: nothing happens on the host
            else:
                changed.append(name)
        elif (
            entry is not None and entry.state == INSTALLED and _was_deselected(world, service, name)
        ):
            assignments[service.uid] = _tombstone(service, entry, released=False)
    current = targets - set(changed) - lacking.keys()
    go, stopped = _rollout(world, service, sorted(current), sorted(changed))
    for name in go:
        found.assignments[name][service.uid] = wish
    found.spreads[service.uid] = Spread(
        tuple(sorted(targets)),
        _allowing(world, service),
        tuple(name for name in sorted(changed) if name not in go),
        stopped,
        tuple(sorted(lacking.items())),
    )


def _assignment(service: Service) -> Assignment:
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


def _effect(item: Assignment) -> tuple[str, ...]:
    """What of an assignment can change something on the host."""
    return item.digest, item.spec_state, item.command, item.command_id


def _targets(world: World, service: Service) -> set[str]:
    return {name for name in world.members if is_target(world, service, name)}


def is_target(world: World, service: Service, name: str) -> bool:
    """Whether a live Tambourine goes to this node."""
    member = world.members.get(name)
    return (
        service.spec is not None
        and member is not None
        and cluster.allows(member.status.namespaces, service.namespace)
        and _is_chosen(world, service, name)
    )


def _lacks(world: World, service: Service, name: str) -> tuple[str, ...]:
    """The fields it uses that the node's agent does not know; one that says nothing of its fields knows what it is sent."""
    known = world.members[name].status.fields
    return tuple(sorted(service.fields.difference(known))) if known else ()


def _is_chosen(world: World, service: Service, name: str) -> bool:
    """By the labels of the Node, never of the TambourineNode, which the node itself might write."""
    labels = world.labels.get(name)
    assert service.spec is not None
    if labels is None:
        return False
    if service.spec.node_name:
        return name == service.spec.node_name
    return all(labels.get(key) == value for key, value in service.spec.node_selector.items())


def _was_deselected(world: World, service: Service, name: str) -> bool:
    """Whether somebody decided so: a Node that is gone, or a host that no longer obeys, is not a decision."""
    member = world.members[name]
    return (
        name in world.labels
        and cluster.allows(member.status.namespaces, service.namespace)
        and not _is_chosen(world, service, name)
    )


def _allowing(world: World, service: Service) -> int:
    return sum(
        cluster.allows(member.status.namespaces, service.namespace)
        for member in world.members.values()
    )


def _rollout(
    world: World, service: Service, current: list[str], changed: list[str]
) -> tuple[set[str], str]:
    """Which of `changed` get it now, and why no more do. `current` have it already."""
    assert service.spec is not None
    if not changed:
        return set(), ""
    rollout = service.spec.rollout
    if rollout.paused:
        return set(), "the rollout is paused (spec.rollout.paused)"
    busy = 0
    for name in current:
        if name in world.lost:
            continue
        verdict = _verdict(world, service, name)
        if verdict:
            return set(), verdict
        busy += not _is_ready(world, service, name)
    allowed = max_unavailable(rollout, len(current) + len(changed)) - busy
    alive = [name for name in changed if name not in world.lost]
    # A node that is not well loses nothing by the change, and one that has an older change under way is not: those first.
    alive.sort(key=lambda name: (_is_settled(world, service, name), name))
    go = set(alive[: max(0, allowed)])
    return go | {name for name in changed if name in world.lost}, ""


def max_unavailable(rollout: Rollout, nodes: int) -> int:
    """How many nodes may be not Ready at once: at least 1; a percentage is rounded down (as a Deployment's is)."""
    bound = rollout.max_unavailable
    if isinstance(bound, int):
        return max(1, bound)
    return max(1, math.floor(int(bound.removesuffix("%")) * nodes / 100))


def _verdict(world: World, service: Service, name: str) -> str:
    """Why a node that has the change is no good with it; "" while it is, or may become so."""
    report = world.report(service, name)
    member = world.members[name]
    entry = member.assignment(service.uid)
    if report is None or entry is None or report.status.observed_generation < entry.generation:
        return ""
    if _effect(entry) != _effect(_assignment(service)):
        return ""
    ready = report.ready
    if ready is None or ready.status != "False" or ready.reason in IN_FLIGHT:
        return ""
    return f"{name} is not ready with it: {ready.reason}: {ready.message}"


def _is_ready(world: World, service: Service, name: str) -> bool:
    """Ready with what is assigned now, and not for a moment only."""
    entry = world.members[name].assignment(service.uid)
    return (
        entry is not None
        and (service.uid, name) not in world.young
        and _effect(entry) == _effect(_assignment(service))
        and _is_settled(world, service, name)
    )


def _is_settled(world: World, service: Service, name: str) -> bool:
    """Ready with what it was told last, whichever content that is."""
    report = world.report(service, name)
    entry = world.members[name].assignment(service.uid)
    if report is None or entry is None or report.status.observed_generation < entry.generation:
        return False
    return report.ready is not None and report.ready.status == "True"
