"""The objects of Tambourine in a cluster, and the order of their removal.

Each step reads what exists and deletes it: run again after a failure, it continues.
"""

from __future__ import annotations

import contextlib
import threading
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from tambourinefs.cli.common.wait import Patience, readings
from tambourinefs.errors import Conflict, Incomplete, NotFound
from tambourinefs.kube import resources
from tambourinefs.kube.resources import Resource
from tambourinefs.model import cluster

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tambourinefs.kube.api import Api, Object

PART_OF: Final = "app.kubernetes.io/part-of=tambourine"  # on all objects of `kubectl apply -k k8s/`
NAME_PREFIXES: Final = ("tambourine-", cluster.NODE_USER_PREFIX)
POD_SELECTOR: Final = "app.kubernetes.io/name in (tambourine-controller,tambourine-sync)"
_FIRST_PAUSE: Final = 0.1
_PATIENCE: Final = Patience(30.0, "run this again to continue")
_NAMED: Final = 5  # names in a message

_RBAC: Final = ("rbac.authorization.k8s.io", "v1")
_ADMISSION: Final = ("admissionregistration.k8s.io", "v1")
DEPLOYMENTS: Final = Resource("apps", "v1", "deployments", "Deployment", namespaced=True)
DAEMONSETS: Final = Resource("apps", "v1", "daemonsets", "DaemonSet", namespaced=True)
BUDGETS: Final = Resource(
    "policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget", namespaced=True
)
PODS: Final = Resource("", "v1", "pods", "Pod", namespaced=True)
POLICIES: Final = Resource(
    *_ADMISSION, "validatingadmissionpolicies", "ValidatingAdmissionPolicy", namespaced=False
)
POLICY_BINDINGS: Final = Resource(
    *_ADMISSION,
    "validatingadmissionpolicybindings",
    "ValidatingAdmissionPolicyBinding",
    namespaced=False,
)
BINDINGS: Final = Resource(*_RBAC, "rolebindings", "RoleBinding", namespaced=True)
ROLES: Final = Resource(*_RBAC, "roles", "Role", namespaced=True)
SERVICES: Final = Resource("", "v1", "services", "Service", namespaced=True)
# Kinds by which a namespace counts as used by others; not Secrets, which the plugin must not read.
_USED_BY_OTHERS: Final = (
    DEPLOYMENTS,
    DAEMONSETS,
    Resource("apps", "v1", "statefulsets", "StatefulSet", namespaced=True),
    Resource("batch", "v1", "jobs", "Job", namespaced=True),
    Resource("batch", "v1", "cronjobs", "CronJob", namespaced=True),
    PODS,
    SERVICES,
    Resource("", "v1", "configmaps", "ConfigMap", namespaced=True),
    Resource("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim", namespaced=True),
    resources.SERVICE_ACCOUNTS,
)
_EVERYWHERE: Final = ("kube-root-ca.crt", "default")  # created by the cluster in every namespace


@dataclass(frozen=True, slots=True)
class Step:
    """Some kinds, in order; `what` is for messages."""

    what: str
    resources: tuple[Resource, ...]
    annotate: bool = False


PROGRAMS: Final = Step(
    "the controller, and sync if it is a DaemonSet", (DEPLOYMENTS, DAEMONSETS, BUDGETS)
)
RULES: Final = Step("admission policies", (POLICY_BINDINGS, POLICIES))
KINDS: Final = Step(
    "custom resource definitions, with all their objects", (resources.CRDS,), annotate=True
)
# Roles before the Leases: a sync that still runs would create its Lease again.
IDENTITIES: Final = Step(
    "roles and accounts",
    (
        resources.CLUSTER_ROLE_BINDINGS,
        BINDINGS,
        resources.CLUSTER_ROLES,
        ROLES,
        resources.SERVICE_ACCOUNTS,
        SERVICES,
        resources.LEASES,
    ),
)
PLACE: Final = Step("its namespace, if nothing else is in it", (resources.NAMESPACES,))
AFTER_SERVICES: Final = (PROGRAMS, RULES, KINDS, IDENTITIES, PLACE)


def items(
    api: Api,
    resource: Resource,
    *,
    label_selector: str = "",
    name: str = "",
    namespace: str = "",
) -> list[Object]:
    """All of a kind that the selector matches; none where the cluster does not have the kind."""
    pages = api.list_pages(resource, namespace, label_selector=label_selector, name=name)
    try:
        return [item for page in pages for item in page.items]
    except NotFound:
        return []


def found(api: Api, resource: Resource) -> list[Object]:
    """Tambourine's objects of a kind, by label and name; those of `join` and Leases by name."""
    if resource == resources.LEASES:
        return [item for item in items(api, resource) if _is_own_lease(item["metadata"])]
    if resource == resources.CRDS:
        return [item for item in items(api, resource) if item["spec"]["group"] == cluster.GROUP]
    by_label = items(api, resource, label_selector=PART_OF)
    if resource == resources.NAMESPACES:
        return [item for item in by_label if not others_in(api, item["metadata"]["name"])]
    found_items = [item for item in by_label if _is_own_name(item["metadata"]["name"])]
    if resource in (
        resources.CLUSTER_ROLE_BINDINGS,
        resources.CLUSTER_ROLES,
        resources.SERVICE_ACCOUNTS,
    ):
        there = {item["metadata"]["uid"] for item in found_items}
        joined = (cluster.NODE_USER_PREFIX, "tambourine-join-")
        found_items += [
            item
            for item in items(api, resource)
            if item["metadata"]["name"].startswith(joined) and item["metadata"]["uid"] not in there
        ]
    return found_items


def others_in(api: Api, namespace: str) -> list[str]:
    """Objects of others in a namespace, which its deletion would delete too."""
    return [
        f"{resource.kind} {item['metadata']['name']}"
        for resource in _USED_BY_OTHERS
        for item in items(api, resource, namespace=namespace)
        if not _is_own_name(item["metadata"]["name"])
        and item["metadata"]["name"] not in _EVERYWHERE
    ]


def _is_own_name(name: str) -> bool:
    return name.startswith(NAME_PREFIXES)


def _is_own_lease(metadata: dict[str, Any]) -> bool:
    """The leader's and the nodes'; in namespaces of others `tambourine-` alone would be a guess."""
    name, namespace = str(metadata["name"]), str(metadata.get("namespace", ""))
    if name == cluster.CONTROLLER:
        return True
    return namespace == cluster.LEASE_NAMESPACE and name.startswith(cluster.lease_name(""))


def name_of(item: Object) -> str:
    metadata = item["metadata"]
    namespace = metadata.get("namespace")
    return f"{namespace}/{metadata['name']}" if namespace else str(metadata["name"])


def some(names: Sequence[str]) -> str:
    """The first few."""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def remove(api: Api, step: Step, *, timeout: float) -> Iterator[str]:
    """Delete the step's objects, kind after kind, until they are gone; yields what is left. Raises Incomplete."""
    for resource in step.resources:
        for left in remaining(partial(_delete_all, api, resource, annotate=step.annotate), timeout):
            yield f"waiting for deletion of {resource.plural}: {some(left)}"


def _delete_all(api: Api, resource: Resource, *, annotate: bool) -> list[Object]:
    left = found(api, resource)
    for item in left:
        if not item["metadata"].get("deletionTimestamp"):
            _delete(api, resource, item, annotate=annotate)
    return left


def _delete(api: Api, resource: Resource, item: Object, *, annotate: bool) -> None:
    metadata = item["metadata"]
    name, namespace = metadata["name"], metadata.get("namespace", "")
    with contextlib.suppress(NotFound, Conflict):  # deleted or changed since: read again
        if annotate:
            allow = {"metadata": {"annotations": {cluster.ALLOW_DELETION: "true"}}}
            api.merge(resource, name, namespace, allow)
        api.delete(resource, name, namespace, uid=metadata["uid"])


def wait_for_pods(api: Api, *, timeout: float) -> Iterator[str]:
    """Until no pod of Tambourine is left: a running controller must not see its resources go. Raises Incomplete."""
    for left in remaining(partial(items, api, PODS, label_selector=POD_SELECTOR), timeout):
        yield f"waiting for deletion of pods: {some(left)}"


def remaining(read: Callable[[], list[Object]], timeout: float) -> Iterator[list[str]]:
    """Yield the names of what `read` returns until it is empty.

    Raises Incomplete after `timeout` seconds, Unreachable.
    """
    names: list[str] = []
    for left in readings(
        threading.Event(), read, _PATIENCE, timeout=timeout, first_pause=_FIRST_PAUSE
    ):
        if not left:
            return
        names = [name_of(item) for item in left]
        yield names
    raise Incomplete(
        f"not deleted after {timeout:g} s: {some(names)}",
        hint="run this again to continue; `kubectl describe` shows what blocks the deletion",
    )
