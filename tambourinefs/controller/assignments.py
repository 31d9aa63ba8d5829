"""Which node is assigned what. Pure, of one Snapshot.

A first install goes to all targets at once; a change of what runs goes by the rollout (rollout.py).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from tambourinefs.controller import rollout
from tambourinefs.controller.snapshot import Member, Service, Snapshot
from tambourinefs.model import cluster
from tambourinefs.model.cluster import ABSENT, INSTALLED, RELEASED, Assignment


@dataclass(frozen=True, slots=True)
class Placement:
    """Where one Tambourine goes."""

    targets: tuple[str, ...]  # nodes that it selects and whose host allows its namespace
    allowing: int  # how many nodes' hosts allow its namespace
    outdated: tuple[str, ...] = ()  # targets that wait for the rollout
    stopped: str = ""  # why the rollout has stopped
    # Targets whose agent does not support fields of the spec, and which: they keep what they have.
    unsupported: tuple[tuple[str, tuple[str, ...]], ...] = ()


@dataclass(slots=True)
class Plan:
    """The assignments of each node by uid of the Tambourine, and the placement of each Tambourine by uid."""

    assignments: dict[str, dict[str, Assignment]] = field(default_factory=dict)
    placements: dict[str, Placement] = field(default_factory=dict)


def plan(snapshot: Snapshot) -> Plan:
    """The desired assignments of all nodes. Those of a Tambourine that is not in the snapshot stay: absence is no order."""
    found = Plan({name: _kept(member) for name, member in snapshot.members.items()})
    for service in sorted(snapshot.services.values(), key=lambda item: (item.namespace, item.name)):
        if service.deleted:
            if snapshot.deletions_intended:
                _uninstall(snapshot, service, found)
        elif service.spec is not None:
            _place(snapshot, service, found)
    return found


def is_target(snapshot: Snapshot, service: Service, node: str) -> bool:
    """Whether a Tambourine that is not deleted goes to this node."""
    member = snapshot.members.get(node)
    return (
        service.spec is not None
        and member is not None
        and _allows(member, service)
        and _is_selected(snapshot, service, node)
    )


def _kept(member: Member) -> dict[str, Assignment]:
    """What the node is assigned, without the tombstones that it has carried out."""
    return {
        item.uid: item
        for item in member.assignments
        if item.state == INSTALLED or not member.has_acknowledged(item)
    }


def _uninstall(snapshot: Snapshot, service: Service, found: Plan) -> None:
    """Every node that was assigned it gets a tombstone: to uninstall it, or to release it (deletionPolicy: orphan)."""
    for assignments in found.assignments.values():
        current = assignments.get(service.uid)
        if current is not None and current.state == INSTALLED:
            assignments[service.uid] = _tombstone(service, current, released=service.orphan)
    found.placements[service.uid] = Placement((), _allowing(snapshot, service))


def _tombstone(service: Service, current: Assignment, *, released: bool) -> Assignment:
    return msgspec.structs.replace(
        current,
        state=RELEASED if released else ABSENT,
        generation=max(service.generation, current.generation),
        revision=current.revision if released else "",
        digest=current.digest if released else "",
        command="",
        command_id="",
    )


def _place(snapshot: Snapshot, service: Service, found: Plan) -> None:
    targets = {name for name in snapshot.members if is_target(snapshot, service, name)}
    unsupported = {
        name: fields for name in targets if (fields := _unsupported(snapshot, service, name))
    }
    desired = rollout.assignment(service)
    outdated = set()
    for name, assignments in found.assignments.items():
        current = assignments.get(service.uid)
        installed = current is not None and current.state == INSTALLED
        if name in unsupported:
            continue
        if name in targets:
            if current is None or not installed or rollout.has_same_effect(current, desired):
                assignments[service.uid] = desired
            else:
                outdated.add(name)
        elif current is not None and installed and _was_deselected(snapshot, service, name):
            assignments[service.uid] = _tombstone(service, current, released=False)
    updated = targets - outdated - unsupported.keys()
    progress = rollout.advance(snapshot, service, updated, outdated)
    for name in progress.update:
        found.assignments[name][service.uid] = desired
    found.placements[service.uid] = Placement(
        tuple(sorted(targets)),
        _allowing(snapshot, service),
        tuple(sorted(outdated - progress.update)),
        progress.stopped,
        tuple(sorted(unsupported.items())),
    )


def _unsupported(snapshot: Snapshot, service: Service, node: str) -> tuple[str, ...]:
    """The fields it uses that the node's agent does not support; an agent that reports no fields supports all."""
    supported = snapshot.members[node].status.fields
    return tuple(sorted(service.fields.difference(supported))) if supported else ()


def _is_selected(snapshot: Snapshot, service: Service, node: str) -> bool:
    """By the labels of the Node, never of the TambourineNode, which the node itself may write."""
    labels = snapshot.labels.get(node)
    assert service.spec is not None
    if labels is None:
        return False
    if service.spec.node_name:
        return node == service.spec.node_name
    return all(labels.get(key) == value for key, value in service.spec.node_selector.items())


def _was_deselected(snapshot: Snapshot, service: Service, node: str) -> bool:
    """Whether the selection has changed. A Node that is gone or a namespace no longer allowed is not an order to remove."""
    return (
        node in snapshot.labels
        and _allows(snapshot.members[node], service)
        and not _is_selected(snapshot, service, node)
    )


def _allows(member: Member, service: Service) -> bool:
    return cluster.allows_namespace(member.status.namespaces, service.namespace)


def _allowing(snapshot: Snapshot, service: Service) -> int:
    return sum(_allows(member, service) for member in snapshot.members.values())
