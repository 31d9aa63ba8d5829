"""Every verb on every kind, tried as a node: what is allowed, as a table. Nothing is changed: all writes are dry runs, for
which the API server asks its authorizer and its policies as for any other.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from tambourinefs.kube import resources as kinds
from tambourinefs.kube.resources import Resource
from tambourinefs.model import cluster as model
from tests.cluster.callers import APPLY, MERGE, Caller

DRY: Final = {"dryRun": "All"}
OURS: Final = ("tambourine.dev", "v1alpha1")
VERBS: Final = (
    "get", "list", "watch", "create", "update", "patch", "apply", "delete", "deletecollection",
)  # fmt: skip
CORE_EVENTS: Final = Resource("", "v1", "events", "Event", namespaced=True)
SECRETS: Final = Resource("", "v1", "secrets", "Secret", namespaced=True)
CONFIGMAPS: Final = Resource("", "v1", "configmaps", "ConfigMap", namespaced=True)
PODS: Final = Resource("", "v1", "pods", "Pod", namespaced=True)
ACCOUNTS: Final = Resource("", "v1", "serviceaccounts", "ServiceAccount", namespaced=True)
_RBAC: Final = ("rbac.authorization.k8s.io", "v1")
ROLES: Final = Resource(*_RBAC, "clusterroles", "ClusterRole", namespaced=False)
BINDINGS: Final = Resource(*_RBAC, "clusterrolebindings", "ClusterRoleBinding", namespaced=False)
_ADMISSION: Final = ("admissionregistration.k8s.io", "v1")
POLICIES: Final = Resource(
    *_ADMISSION, "validatingadmissionpolicies", "ValidatingAdmissionPolicy", namespaced=False
)
POLICY_BINDINGS: Final = Resource(
    *_ADMISSION, "validatingadmissionpolicybindings", "ValidatingAdmissionPolicyBinding", namespaced=False
)  # fmt: skip


_WHOLE_OBJECTS: Final = frozenset({"list", "watch", "create", "delete", "deletecollection"})


@dataclass(frozen=True)
class Row:
    """An object that is there, and what a new one of its kind would be (for `create`)."""

    label: str
    resource: Resource
    name: str
    namespace: str = ""
    subresource: str = ""
    new: dict[str, Any] | None = None
    patch: dict[str, Any] | None = None  # what `patch` and `apply` say; else an annotation
    one: bool = True  # list and watch ask for this one object by name; else for all
    verbs: tuple[str, ...] = VERBS  # that are tried, where the API server has such a request

    @property
    def tried(self) -> tuple[str, ...]:
        """The verbs that are tried: of a subresource with nothing to create, those that read and change it."""
        part = self.subresource and self.new is None
        found = tuple(verb for verb in self.verbs if not (part and verb in _WHOLE_OBJECTS))
        assert self.new is not None or "create" not in found, f"{self.label}: what would be made?"
        return found


def attempt(caller: Caller, administrator: Caller, row: Row, verb: str) -> bool | None:
    """Whether `caller` may; None where it is not tried."""
    if verb not in row.tried:
        return None
    resource, query = row.resource, dict(DRY)
    collection = resource.path(row.namespace)
    path = resource.path(row.namespace, row.name, row.subresource)
    chosen = {"fieldSelector": f"metadata.name={row.name}"} if row.one else {}
    if verb == "get":
        answer = caller.ask("GET", path)
    elif verb == "list":
        answer = caller.ask("GET", collection, **chosen, limit="5")
    elif verb == "watch":
        answer = caller.ask("GET", collection, **chosen, watch="1", timeoutSeconds="1")
    elif verb == "create":
        answer = caller.ask("POST", path if row.subresource else collection, row.new, **query)
    elif verb == "update":
        there = administrator.ask("GET", path)
        assert there.code == 200, f"{row.label}: {there.said}"
        answer = caller.ask("PUT", path, there.body, **query)
    elif verb == "patch":
        answer = caller.ask("PATCH", path, row.patch or _annotation(), MERGE, **query)
    elif verb == "apply":
        body = {"apiVersion": resource.api_version, "kind": resource.kind, **_named(row)}
        query |= {"fieldManager": "test", "force": "true"}
        answer = caller.ask("PATCH", path, body, APPLY, **query)
    elif verb == "delete":
        answer = caller.ask("DELETE", path, **query)
    else:
        answer = caller.ask("DELETE", collection, **chosen, **query)
    try:
        return not answer.refused
    except AssertionError as error:
        raise AssertionError(f"{caller.name}: {verb} {row.label}: {error}") from None


def _annotation() -> dict[str, Any]:
    return {"metadata": {"annotations": {"example.org/tried": "yes"}}}


def _named(row: Row) -> dict[str, Any]:
    said = dict(row.patch or _annotation())
    metadata = {**said.pop("metadata", {}), "name": row.name}
    if row.namespace:
        metadata["namespace"] = row.namespace
    return {**said, "metadata": metadata}


def table(callers: list[Caller], administrator: Caller, rows: Iterable[Row]) -> str:
    """Markdown: a row an object, a column an identity, in each cell the verbs that are allowed; before them what was tried:
    "-" is refused, and not left out.
    """
    lines = [
        "| object | tried | " + " | ".join(caller.name for caller in callers) + " |",
        "|---|---|" + "---|" * len(callers),
    ]
    for row in rows:
        cells = ["all" if row.tried == VERBS else " ".join(row.tried)]
        for caller in callers:
            allowed = [verb for verb in row.tried if attempt(caller, administrator, row, verb)]
            cells.append(" ".join(allowed) or "-")
        lines.append(f"| {row.label} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def event(node: str, namespace: str, instance: dict[str, Any], name: str) -> dict[str, Any]:
    """What sync of `node` says about an instance."""
    metadata = instance["metadata"]
    return {
        "apiVersion": kinds.EVENTS.api_version,
        "kind": "Event",
        "metadata": {"name": name, "namespace": namespace},
        "eventTime": "2026-01-01T00:00:00.000000Z",
        "reportingController": "tambourine.dev/sync",
        "reportingInstance": node,
        "action": "Report",
        "reason": "Started",
        "type": "Normal",
        "note": "it is started",
        "regarding": {
            "apiVersion": "tambourine.dev/v1alpha1",
            "kind": model.INSTANCE_KIND,
            "namespace": namespace,
            "name": metadata["name"],
            "uid": metadata["uid"],
        },
    }


def lease(node: str, name: str, namespace: str) -> dict[str, Any]:
    """A heartbeat."""
    spec = {"holderIdentity": node, "leaseDurationSeconds": 40}
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    }
