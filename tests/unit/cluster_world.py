"""Worlds for tests of what the controller and sync decide: objects in a few words."""

from __future__ import annotations

from typing import Any

import msgspec

from tambourinefs.controller import snapshot
from tambourinefs.controller.snapshot import Member, Report, Revision, Service, Snapshot
from tambourinefs.model import cluster, manifest
from tambourinefs.model.cluster import Assignment
from tambourinefs.model.schema import API_VERSION
from tambourinefs.model.status import Condition

NAMESPACE = "storage"


class Clock:
    """Monotonic seconds, as a test sets them."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def service(
    name: str = "zfs", *, generation: int = 1, uid: str = "", deleted: str = "", **spec: Any
) -> Service:
    """A Tambourine as the API server has it; keywords are fields of the spec as on the wire."""
    metadata = {
        "namespace": NAMESPACE, "name": name, "uid": uid or f"uid-{name}", "generation": generation,
        "creationTimestamp": "2026-01-01T00:00:00Z", "finalizers": [cluster.FINALIZER],
    }  # fmt: skip
    if deleted:
        metadata["deletionTimestamp"] = deleted
    fields = {"name": name, "unit": "[Service]\nExecStart=/bin/true\n", "command": "start", **spec}
    item = {"apiVersion": API_VERSION, "kind": "Tambourine", "metadata": metadata, "spec": fields}
    return snapshot.service(item)


def assigned(of: Service, **changes: Any) -> Assignment:
    """What a node is told of it, with `changes`."""
    assert of.spec is not None
    made = Assignment(
        uid=of.uid,
        namespace=of.namespace,
        name=of.name,
        generation=of.generation,
        creation_timestamp=of.created,
        revision=of.revision,
        digest=of.digest,
        spec_state=of.spec.state,
        command=of.spec.command or "",
        command_id=of.spec.command_id,
    )
    return msgspec.structs.replace(made, **changes)


def member(
    name: str,
    *assignments: Assignment,
    namespaces: tuple[str, ...] = ("*",),
    acknowledged: tuple[Assignment, ...] = (),
    fields: tuple[str, ...] = (),
) -> Member:
    """A TambourineNode; `fields`: that its agent knows, where it is another release than this one."""
    done = tuple(
        cluster.Acknowledged(uid=item.uid, generation=item.generation, state=item.state)
        for item in acknowledged
    )
    status = cluster.NodeStatus(
        version="0.0.9", namespaces=namespaces, acknowledged=done, fields=fields
    )
    return Member(name, "1", assignments, status)


def report(
    of: Service, node: str, ready: str = "True", reason: str = "Ready", **status: Any
) -> Report:
    """What a node says of it, at its generation unless `observed_generation` says otherwise."""
    generation = status.setdefault("observed_generation", of.generation)
    conditions = (
        Condition("Accepted", "True", "Accepted", "", generation, ""),
        Condition("Applied", "True", "Applied", "", generation, ""),
        Condition("Ready", ready, reason, f"{reason} it is", generation, ""),
    )
    said = cluster.InstanceStatus(**{"active_state": "active", "conditions": conditions} | status)
    name = cluster.instance_name(of.name, node)
    return Report(of.namespace, name, f"uid-{name}", node, of.uid, said)


def make(
    *services: Service,
    members: tuple[Member, ...] = (),
    reports: tuple[Report, ...] = (),
    revisions: tuple[Revision, ...] = (),
    labels: dict[str, dict[str, str]] | None = None,
    **more: Any,
) -> Snapshot:
    """All of it; each member has a Node without labels unless `labels` says otherwise."""
    return Snapshot(
        services={(item.namespace, item.name): item for item in services},
        members={item.name: item for item in members},
        labels={item.name: {} for item in members} if labels is None else labels,
        reports={(item.namespace, item.name): item for item in reports},
        revisions={(item.namespace, item.name): item for item in revisions},
        **more,
    )


def manifest_at(of: Service, **changes: Any) -> manifest.Manifest:
    """The manifest that sync has laid into the silo for it."""
    assert of.spec is not None
    return cluster.manifest_of(assigned(of, **changes), cluster.content_of(of.spec))
