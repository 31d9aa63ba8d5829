"""The objects of the API server, projected to what the controller's decisions need."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from tambourinefs.errors import InvalidManifest
from tambourinefs.model import cluster, fields, manifest
from tambourinefs.model.names import NamespacedName
from tambourinefs.model.schema import Manifest, Spec
from tambourinefs.model.status import READY, Condition, condition_of

Place = tuple[str, str]  # uid of a Tambourine, node


@dataclass(frozen=True, slots=True)
class Service:
    """A Tambourine."""

    namespace: str
    name: str
    uid: str
    generation: int
    created: str
    deleted: str  # deletionTimestamp, or ""
    finalizers: tuple[str, ...]
    orphan: bool  # by deletionPolicy, also of a spec that this release cannot read
    spec: Spec | None  # None: this release cannot read it
    problem: str  # why not
    digest: str
    fields: frozenset[str]  # of the spec that a node's agent must support
    status: dict[str, Any]

    @property
    def revision(self) -> str:
        return cluster.revision_name(self.name, self.digest)


@dataclass(frozen=True, slots=True)
class Member:
    """A TambourineNode."""

    name: str
    version: str  # resourceVersion
    assignments: tuple[cluster.Assignment, ...]
    status: cluster.NodeStatus
    resync_requested_at: str = ""  # RFC 3339, the annotation
    _by_uid: dict[str, cluster.Assignment] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_by_uid", {item.uid: item for item in self.assignments})

    def assignment(self, uid: str) -> cluster.Assignment | None:
        return self._by_uid.get(uid)

    def has_acknowledged(self, item: cluster.Assignment) -> bool:
        """Whether the node has carried out this tombstone."""
        return any(
            done.uid == item.uid and done.generation >= item.generation
            for done in self.status.acknowledged
        )

    @property
    def ready(self) -> Condition | None:
        return condition_of(self.status.conditions, READY)

    @property
    def is_unreachable(self) -> bool:
        """Whether its sync reports that Bombshell or the agent does not answer."""
        ready = self.ready
        return ready is not None and ready.reason == cluster.HOST_UNREACHABLE


@dataclass(frozen=True, slots=True)
class Report:
    """A TambourineInstance."""

    namespace: str
    name: str
    uid: str
    node: str
    owner: str  # uid of the Tambourine
    status: cluster.InstanceStatus
    _conditions: dict[str, Condition] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        found = {item.type: item for item in self.status.conditions}
        object.__setattr__(self, "_conditions", found)

    def condition(self, kind: str) -> Condition | None:
        return self._conditions.get(kind)

    @property
    def ready(self) -> Condition | None:
        return self._conditions.get(READY)


@dataclass(frozen=True, slots=True)
class Revision:
    """A TambourineRevision, without its content."""

    namespace: str
    name: str
    uid: str
    owner: str  # uid of the Tambourine
    created: str  # RFC 3339
    version: int  # resourceVersion: orders those created within one second


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All objects at one moment."""

    services: dict[NamespacedName, Service]
    members: dict[str, Member]
    labels: dict[str, dict[str, str]]  # of each core Node
    reports: dict[NamespacedName, Report]
    revisions: dict[NamespacedName, Revision]
    lost: frozenset[str] = frozenset()  # nodes whose heartbeat has stopped
    unreachable: frozenset[str] = frozenset()  # nodes whose agent or Bombshell does not answer
    # Ready, but not for MIN_READY_SECONDS yet, and when it will be.
    available_at: Mapping[Place, float] = field(default_factory=dict)
    deletions_intended: bool = True  # false while the CRD itself is being deleted
    expired: frozenset[str] = frozenset()  # uids whose deletion has waited long enough
    problems: dict[str, str] = field(default_factory=dict)  # by uid: what the API server rejects

    def silence(self, node: str) -> str:
        """Why the state of its services is unknown: a reason of cluster.SILENT, or ""."""
        if node in self.lost:
            return cluster.NODE_LOST
        return cluster.HOST_UNREACHABLE if node in self.unreachable else ""

    def report(self, service: Service, node: str) -> Report | None:
        """The node's report about it, none that is about another object of that name."""
        found = self.reports.get((service.namespace, cluster.instance_name(service.name, node)))
        return found if found is not None and found.owner == service.uid else None


def service(item: dict[str, Any]) -> Service:
    """A Tambourine; one that this release cannot read is kept with the problem."""
    metadata = item["metadata"]
    parsed, problem = _parse(item)
    return Service(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        generation=int(metadata.get("generation", 0)),
        created=metadata.get("creationTimestamp", ""),
        deleted=metadata.get("deletionTimestamp", "") or "",
        finalizers=tuple(metadata.get("finalizers") or ()),
        orphan=(item.get("spec") or {}).get("deletionPolicy") == "orphan",
        spec=parsed.spec if parsed else None,
        problem=problem,
        digest=manifest.content_digest(parsed) if parsed else "",
        fields=fields.used(parsed.spec) if parsed else frozenset(),
        status=item.get("status") or {},
    )


def _parse(item: dict[str, Any]) -> tuple[Manifest | None, str]:
    plain = {key: value for key, value in item.items() if key != "status"}
    metadata = {k: v for k, v in item["metadata"].items() if k != "managedFields"}
    source = f"{metadata['namespace']}/{metadata['name']}"
    try:
        data = msgspec.json.encode({**plain, "metadata": metadata})
        return manifest.parse_json(data, source=source), ""
    except InvalidManifest as error:
        return None, str(error)


def member(item: dict[str, Any]) -> Member | None:
    """A TambourineNode; None where it does not have the shape of one."""
    try:
        node = msgspec.convert(item, cluster.Node)
    except msgspec.ValidationError:
        return None
    return Member(
        node.metadata.name,
        node.metadata.resource_version,
        node.spec.assignments,
        node.status,
        node.metadata.annotations.get(cluster.RESYNC_REQUESTED_AT, ""),
    )


def report(item: dict[str, Any]) -> Report | None:
    """A TambourineInstance."""
    try:
        found = msgspec.convert(item, cluster.Instance)
    except msgspec.ValidationError:
        return None
    owners = [ref.get("uid", "") for ref in found.metadata.owner_references]
    return Report(
        found.metadata.namespace,
        found.metadata.name,
        found.metadata.uid,
        found.spec.node_name,
        owners[0] if owners else "",
        msgspec.structs.replace(found.status, journal=()),  # no decision needs it
    )


def revision(item: dict[str, Any]) -> Revision:
    """A TambourineRevision."""
    metadata = item["metadata"]
    owners = [ref.get("uid", "") for ref in metadata.get("ownerReferences") or ()]
    version = str(metadata.get("resourceVersion", ""))
    return Revision(
        metadata["namespace"],
        metadata["name"],
        metadata.get("uid", ""),
        owners[0] if owners else "",
        metadata.get("creationTimestamp", ""),
        int(version) if version.isdecimal() else 0,
    )
