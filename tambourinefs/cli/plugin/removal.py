"""What of Tambourine is in a cluster, and in which order it is taken away. Nothing here asks a person anything.

Each step looks for what is still there and removes that: begun again after a failure, it goes on where it was.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from tambourinefs.errors import Conflict, NotFound, NotReady
from tambourinefs.kube import resources
from tambourinefs.kube.resources import Resource
from tambourinefs.model import cluster

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tambourinefs.kube.api import Api, Object

PART_OF: Final = "app.kubernetes.io/part-of=tambourine"  # on all that `kubectl apply -k k8s/` makes
NAME_PREFIXES: Final = ("tambourine-", cluster.NODE_USER_PREFIX)
POD_SELECTOR: Final = "app.kubernetes.io/name in (tambourine-controller,tambourine-sync)"
_FIRST_PAUSE: Final = 0.1
_LAST_PAUSE: Final = 2.0
_NAMED: Final = 5  # objects that a message names

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
# In which somebody else's things in a namespace show; not in Secrets, which we have no business to read.
_INHABITANTS: Final = (
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
_EVERYWHERE: Final = ("kube-root-ca.crt", "default")  # the cluster makes them in every namespace


@dataclass(frozen=True, slots=True)
class Step:
    """Some kinds, in order; `what` is for people."""

    what: str
    resources: tuple[Resource, ...]
    annotate: bool = False


PROGRAMS: Final = Step(
    "the controller, and sync where it is a DaemonSet", (DEPLOYMENTS, DAEMONSETS, BUDGETS)
)
RULES: Final = Step("admission policies", (POLICY_BINDINGS, POLICIES))
KINDS: Final = Step(
    "the resources themselves, with the nodes' objects", (resources.CRDS,), annotate=True
)
# Roles before the Leases: a sync that lives on would make its Lease again.
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
PLACE: Final = Step("its namespace, where nobody else lives", (resources.NAMESPACES,))
AFTER_SERVICES: Final = (PROGRAMS, RULES, KINDS, IDENTITIES, PLACE)


def items(
    api: Api,
    resource: Resource,
    *,
    label_selector: str = "",
    name: str = "",
    namespace: str = "",
) -> list[Object]:
    """All of a kind that the selector chooses; none where the cluster does not know the kind (any more)."""
    pages = api.list_pages(resource, namespace, label_selector=label_selector, name=name)
    try:
        return [item for page in pages for item in page.items]
    except NotFound:
        return []


def found(api: Api, resource: Resource) -> list[Object]:
    """What of a kind is ours, by label and name; of what `join` made, and of Leases, by name."""
    if resource == resources.LEASES:
        return [item for item in items(api, resource) if _is_our_lease(item["metadata"])]
    if resource == resources.CRDS:
        return [item for item in items(api, resource) if item["spec"]["group"] == cluster.GROUP]
    by_label = items(api, resource, label_selector=PART_OF)
    if resource == resources.NAMESPACES:
        return [item for item in by_label if not others_in(api, item["metadata"]["name"])]
    ours = [item for item in by_label if _is_our_name(item["metadata"]["name"])]
    if resource in (
        resources.CLUSTER_ROLE_BINDINGS,
        resources.CLUSTER_ROLES,
        resources.SERVICE_ACCOUNTS,
    ):
        there = {item["metadata"]["uid"] for item in ours}
        joined = (cluster.NODE_USER_PREFIX, "tambourine-join-")
        ours += [
            item
            for item in items(api, resource)
            if item["metadata"]["name"].startswith(joined) and item["metadata"]["uid"] not in there
        ]
    return ours


def others_in(api: Api, namespace: str) -> list[str]:
    """What is in a namespace and not ours: with it, a namespace that we would remove goes too."""
    return [
        f"{resource.kind} {item['metadata']['name']}"
        for resource in _INHABITANTS
        for item in items(api, resource, namespace=namespace)
        if not _is_our_name(item["metadata"]["name"])
        and item["metadata"]["name"] not in _EVERYWHERE
    ]


def _is_our_name(name: str) -> bool:
    return name.startswith(NAME_PREFIXES)


def _is_our_lease(metadata: dict[str, Any]) -> bool:
    """The leader's, and those of the nodes; `tambourine-` alone would be a guess in a namespace of others."""
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


def remove(api: Api, step: Step, *, timeout: float, tell: Callable[[str], None]) -> None:
    """Delete what of the step is there, kind after kind, and wait until it is gone. Raises NotReady."""
    for resource in step.resources:

        def look(resource: Resource = resource) -> list[Object]:
            left = found(api, resource)
            for item in left:
                if not item["metadata"].get("deletionTimestamp"):
                    _delete(api, resource, item, annotate=step.annotate)
            return left

        def told(left: list[Object], resource: Resource = resource) -> str:
            return f"{resource.plural}: {some([name_of(item) for item in left])} on the way out"

        until_gone(look, told, timeout, tell)


def _delete(api: Api, resource: Resource, item: Object, *, annotate: bool) -> None:
    metadata = item["metadata"]
    name, namespace = metadata["name"], metadata.get("namespace", "")
    try:
        if annotate:
            allow = {"metadata": {"annotations": {cluster.ALLOW_DELETION: "true"}}}
            api.merge(resource, name, namespace, allow)
        api.delete(resource, name, namespace, uid=metadata["uid"])
    except (NotFound, Conflict):
        return


def wait_for_pods(api: Api, *, timeout: float, tell: Callable[[str], None]) -> None:
    """Until no pod of ours runs: half a controller must not see the resources go. Raises NotReady."""

    def look() -> list[Object]:
        return items(api, PODS, label_selector=POD_SELECTOR)

    def told(left: list[Object]) -> str:
        return f"pods: {some([name_of(item) for item in left])} on the way out"

    until_gone(look, told, timeout, tell)


def until_gone(
    look: Callable[[], list[Object]],
    told: Callable[[list[Object]], str],
    timeout: float,
    tell: Callable[[str], None],
) -> None:
    """Look again and again until nothing is left; `tell` hears what `told` makes of it, when that changes.

    Raises NotReady after `timeout` seconds.
    """
    deadline = time.monotonic() + timeout
    said = ""
    for pause in _pauses():
        left = look()
        if not left:
            return
        text = told(left)
        if text != said:
            said = text
            tell(text)
        if time.monotonic() >= deadline:
            raise NotReady(
                f"after {timeout:g} s still there: {some([name_of(item) for item in left])}",
                hint="run this again to go on; `kubectl describe` of one says what holds it",
            )
        time.sleep(pause)


def _pauses() -> Iterator[float]:
    pause = _FIRST_PAUSE
    while True:
        yield pause
        pause = min(pause * 1.5, _LAST_PAUSE)
