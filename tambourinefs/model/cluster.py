"""The cluster's objects, as controller and sync read and write them (group tambourine.dev, version v1alpha1).

    TambourineNode      one per node: spec.assignments is its desired state, status describes its agent
    TambourineInstance  one per node and service: what that node reports about the service
    TambourineRevision  the content of a Tambourine, immutable, named by its digest
    Tambourine.status   the summary of all nodes

Unknown fields, of a newer release, are ignored in reading; `to_dict` leaves defaults out in writing.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final, Literal

import msgspec

from tambourinefs.model.names import NamespacedName
from tambourinefs.model.schema import (
    API_VERSION,
    DropIn,
    File,
    Generation,
    Manifest,
    Metadata,
    Spec,
)
from tambourinefs.model.status import Condition, LastCommand

GROUP: Final = "tambourine.dev"
NODE_KIND: Final = "TambourineNode"
INSTANCE_KIND: Final = "TambourineInstance"
REVISION_KIND: Final = "TambourineRevision"

FINALIZER: Final = "tambourine.dev/controller"
ALLOW_DELETION: Final = "tambourine.dev/allow-deletion"
# On a TambourineNode: the controller asks sync to apply all statuses again.
RESYNC_REQUESTED_AT: Final = "tambourine.dev/resync-requested-at"
CONTROLLER: Final = "tambourine-controller"  # field manager, service account and Lease
SYNC: Final = "tambourine-sync"
NODE_USER_PREFIX: Final = "tambourine:node:"
NODE_GROUP: Final = "tambourine:nodes"
NAMESPACE: Final = "tambourine-system"  # the default of --system-namespace
# Of the service account whose token requests a node's first certificate.
JOIN_PREFIX: Final = "tambourine-join-"
LEASE_NAMESPACE: Final = "kube-node-lease"  # in every cluster; no kustomization can move it

# Conditions that a TambourineNode has beside Ready.
IDENTITY_GOOD: Final = "IdentityGood"
CERTIFICATES_VALID: Final = "CertificatesValid"
CLOCK_GOOD: Final = "ClockGood"

# Reasons of Ready where the state of the services on a node is unknown.
NODE_LOST: Final = "NodeLost"  # its heartbeat stopped
HOST_UNREACHABLE: Final = "HostUnreachable"  # its sync gets no answer from Bombshell or the agent
SILENT: Final = frozenset({NODE_LOST, HOST_UNREACHABLE})
NODE_LOST_AFTER: Final = 40.0  # seconds without a change of the Lease
HEARTBEAT_EVERY: Final = 10.0  # seconds
TOMBSTONE_DEADLINE: Final = 300.0  # seconds that a deletion waits for its nodes
REVISIONS_KEPT: Final = 10  # of each Tambourine beside those in use, as revisionHistoryLimit

INSTALLED: Final = "installed"
ABSENT: Final = "absent"  # uninstall it and restore the files that were there before
RELEASED: Final = "released"  # stop managing it; everything on the host stays

MAX_NAME: Final = 253  # DNS subdomain, RFC 1123
DIGEST_IN_NAME: Final = 32  # 128 bits: a revision's name cannot be guessed without its content


class Shape(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """Base of all shapes: unknown fields are ignored, defaults are not written."""


class Assignment(Shape, frozen=True):
    """One service of one node. `uid` is the key: a Tambourine recreated under its name is another object."""

    uid: str
    namespace: str
    name: str
    generation: Generation
    creation_timestamp: str = ""  # RFC 3339: the older one wins where two want one unit
    revision: str = ""  # name of the TambourineRevision; "" where state is not installed
    digest: str = ""  # content_digest, 64 hex digits
    state: Literal["installed", "absent", "released"] = INSTALLED
    spec_state: Literal["installed", "absent"] = INSTALLED  # spec.state of the Tambourine
    command: str = ""
    command_id: str = msgspec.field(name="commandID", default="")

    @property
    def key(self) -> NamespacedName:
        return self.namespace, self.name


class NodeSpec(Shape, frozen=True):
    """The desired state of a node, written by the controller."""

    assignments: tuple[Assignment, ...] = ()


class Acknowledged(Shape, frozen=True):
    """A tombstone that the node has carried out; it stays until the assignment is gone."""

    uid: str
    generation: Generation
    state: str  # absent or released


class NodeStatus(Shape, frozen=True):
    """What a node reports about itself, written by its sync."""

    version: str = ""  # of the agent
    namespaces: tuple[str, ...] = ()  # that its host allows; "*" for all
    fields: tuple[str, ...] = ()  # paths of the spec that its agent supports
    boot_id: str = msgspec.field(name="bootID", default="")
    observed_generation: Generation = 0  # of the TambourineNode
    acknowledged: tuple[Acknowledged, ...] = ()
    unlisted: tuple[str, ...] = ()  # namespace/name on the host and in no assignment
    conditions: tuple[Condition, ...] = ()


class ObjectMeta(Shape, frozen=True):
    """The fields of ObjectMeta that are used."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    generation: Generation = 0
    resource_version: str = ""
    creation_timestamp: str = ""
    deletion_timestamp: str = ""
    finalizers: tuple[str, ...] = ()
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    owner_references: tuple[dict[str, Any], ...] = ()


class Node(Shape, frozen=True):
    """A TambourineNode."""

    api_version: str = API_VERSION
    kind: str = NODE_KIND
    metadata: ObjectMeta = ObjectMeta()
    spec: NodeSpec = NodeSpec()
    status: NodeStatus = NodeStatus()


class InstanceSpec(Shape, frozen=True):
    """Which service on which node."""

    node_name: str = ""
    tambourine: str = ""  # metadata.name of its Tambourine
    unit: str = ""  # full unit name


class Observed(Shape, frozen=True):
    """The nine values of `status` files as text (`active` without the age), then the typed ones."""

    systemd_name: str = msgspec.field(name="systemdName", default="")
    loaded: str = ""
    drop_in: str = msgspec.field(name="drop-in", default="")
    active: str = ""
    docs: str = ""
    pid: str = ""
    tasks: str = ""
    memory: str = ""
    cgroup: str = ""
    observed_generation: Generation = 0
    active_state: str = ""
    sub_state: str = ""
    result: str = ""
    # RFC 3339; absent while the unit never changed state, since a date column accepts no "".
    since: str | None = None
    last_command: LastCommand | None = None
    revision: str = ""  # name of the TambourineRevision that is on the host
    conditions: tuple[Condition, ...] = ()


class InstanceStatus(Observed, frozen=True):
    """What one node reports about one service."""

    uid: str = ""  # of the Tambourine that this is about
    unit_file_state: str = ""
    n_restarts: int = 0
    reason: str = ""  # why it failed, one line
    journal: tuple[str, ...] = ()  # the last lines of the failed run; empty while it has not failed


class Instance(Shape, frozen=True):
    """A TambourineInstance."""

    api_version: str = API_VERSION
    kind: str = INSTANCE_KIND
    metadata: ObjectMeta = ObjectMeta()
    spec: InstanceSpec = InstanceSpec()
    status: InstanceStatus = InstanceStatus()


class Content(Shape, frozen=True):
    """The part of a spec that is a revision: all but state, command, nodes and rollout."""

    name: str
    unit: str | None = None
    drop_ins: tuple[DropIn, ...] = ()
    files: tuple[File, ...] = ()
    enabled: bool | None = None
    on_change: Literal["restart", "reload", "none"] | None = None
    deletion_policy: Literal["uninstall", "orphan"] = "uninstall"


class RevisionSpec(Shape, frozen=True):
    """Immutable. `digest` is `manifest.content_digest` of a manifest with this content."""

    tambourine: str
    digest: str
    content: Content


class Revision(Shape, frozen=True):
    """A TambourineRevision."""

    spec: RevisionSpec
    api_version: str = API_VERSION
    kind: str = REVISION_KIND
    metadata: ObjectMeta = ObjectMeta()


class NodeCounts(Shape, frozen=True, omit_defaults=False):
    """Numbers of nodes: selected, Ready at this generation, with this revision, failed, unknown."""

    desired: int = 0
    ready: int = 0
    updated: int = 0
    failed: int = 0
    unknown: int = 0


class TambourineStatus(Observed, frozen=True):
    """The summary of all instances: the common value, or a count such as `2 active, 1 failed`."""

    unit: str = ""  # full unit name
    ready: str = ""  # "2/3", for the column
    nodes: NodeCounts = NodeCounts()


def to_dict(shape: Shape) -> dict[str, Any]:
    """As JSON would decode it: lists, not tuples; defaults left out."""
    found = msgspec.json.decode(msgspec.json.encode(shape))
    assert isinstance(found, dict)
    return found


def content_of(spec: Spec) -> Content:
    """The part of `spec` that is its revision."""
    return Content(
        name=spec.name,
        unit=spec.unit,
        drop_ins=spec.drop_ins,
        files=spec.files,
        enabled=spec.enabled,
        on_change=spec.on_change,
        deletion_policy=spec.deletion_policy,
    )


def manifest_of(assignment: Assignment, content: Content) -> Manifest:
    """The manifest that sync writes: identity and command of the assignment, content of the revision."""
    released = assignment.state == RELEASED
    return Manifest(
        api_version="tambourine.dev/v1alpha1",
        kind="Tambourine",
        metadata=Metadata(
            name=assignment.name,
            namespace=assignment.namespace,
            uid=assignment.uid,
            generation=assignment.generation,
            creation_timestamp=assignment.creation_timestamp,
        ),
        spec=Spec(
            name=content.name,
            state=assignment.spec_state,
            command=_command(assignment.command),
            command_id=assignment.command_id,
            unit=content.unit,
            drop_ins=content.drop_ins,
            files=content.files,
            enabled=content.enabled,
            on_change=content.on_change,
            deletion_policy="orphan" if released else content.deletion_policy,
        ),
    )


def _command(command: str) -> Any:  # checked by the CRD, and again by the node
    return command or None


def revision_name(tambourine: str, digest: str) -> str:
    """`<tambourine>-<32 hex digits>`, a DNS subdomain of at most 253 characters."""
    head = tambourine[: MAX_NAME - DIGEST_IN_NAME - 1].rstrip("-.")
    return f"{head}-{digest[:DIGEST_IN_NAME]}"


def instance_name(tambourine: str, node: str) -> str:
    """`<tambourine>.<node>`; with a digest behind it where that would be ambiguous or too long."""
    plain = f"{tambourine}.{node}"
    if "." not in tambourine and len(plain) <= MAX_NAME:
        return plain
    digest = hashlib.sha256(f"{tambourine}\0{node}".encode()).hexdigest()[:10]
    return f"{plain[: MAX_NAME - len(digest) - 1].rstrip('-.')}.{digest}"


def join_account(node: str) -> str:
    """The service account that may request this node's first certificate, once."""
    return JOIN_PREFIX + node


def lease_name(node: str) -> str:
    """The Lease of a node's heartbeat, prefixed since the kubelet's is in the same namespace."""
    return f"tambourine-{node}"


def allows_namespace(namespaces: tuple[str, ...], namespace: str) -> bool:
    """Whether a host with this list allows a cluster's namespace; `local` is the host's own and never allowed."""
    return namespace != "local" and (namespace in namespaces or "*" in namespaces)
