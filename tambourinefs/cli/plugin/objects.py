"""What the commands read from the API server: a Tambourine, and what its nodes report of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from tambourinefs.errors import HostError, NotFound
from tambourinefs.kube.resources import INSTANCES, TAMBOURINES
from tambourinefs.model import cluster
from tambourinefs.model.status import StatusReport

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tambourinefs.kube.api import Api, Object


class TambourineObject(cluster.Shape, frozen=True):
    """A Tambourine with its whole spec: fields that this release does not know are kept."""

    spec: dict[str, Any] = msgspec.field(default_factory=dict)
    metadata: cluster.ObjectMeta = cluster.ObjectMeta()
    status: cluster.TambourineStatus = cluster.TambourineStatus()

    @property
    def label(self) -> str:
        return f"tambourine/{self.metadata.name}"


def service_of(item: Object) -> TambourineObject:
    """Raises HostError for an object that this release cannot read."""
    try:
        return msgspec.convert(item, TambourineObject)
    except msgspec.ValidationError as error:
        raise HostError(
            f"tambourine/{item['metadata']['name']}: cannot be read: {error}",
            hint="Tambourine in the cluster and this plugin have different versions",
        ) from error


def read_service(api: Api, namespace: str, name: str) -> TambourineObject:
    """Raises NotFound, Forbidden, Unreachable."""
    try:
        return service_of(api.get(TAMBOURINES, name, namespace))
    except NotFound as error:
        raise not_found(api, namespace, name) from error


def not_found(api: Api, namespace: str, name: str) -> NotFound:
    """The error for a missing Tambourine, or for a cluster without Tambourine."""
    try:
        next(api.list_pages(TAMBOURINES, namespace, limit=1))
    except NotFound:
        return no_tambourine()
    return NotFound(
        f'tambourine/{name} not found in namespace "{namespace}"',
        hint="`kubectl get tambourine -A` lists all",
    )


def no_tambourine() -> NotFound:
    """The error for a cluster without Tambourine's CRDs."""
    hint = "install it from the source tree: kubectl apply -k k8s/"
    return NotFound("Tambourine is not installed in this cluster", hint=hint)


def instance_of(item: Object) -> cluster.Instance | None:
    """None for an object that this release cannot read."""
    try:
        return msgspec.convert(item, cluster.Instance)
    except msgspec.ValidationError:
        return None


def belongs(instance: cluster.Instance, service: TambourineObject) -> bool:
    """Whether it belongs to this object, not to an earlier one of the same name."""
    owners = [reference.get("uid") for reference in instance.metadata.owner_references]
    return service.metadata.uid in owners


def read_instances(api: Api, service: TambourineObject) -> list[cluster.Instance]:
    """What the nodes report of it, sorted by node. Raises Forbidden, Unreachable."""
    pages = api.list_pages(INSTANCES, service.metadata.namespace)
    found = (instance_of(item) for page in pages for item in page.items)
    return of_service((item for item in found if item is not None), service)


def of_service(
    instances: Iterable[cluster.Instance], service: TambourineObject
) -> list[cluster.Instance]:
    """Those of this Tambourine, sorted by node."""
    mine = [item for item in instances if belongs(item, service)]
    return sorted(mine, key=lambda item: item.spec.node_name)


def on_node(
    service: TambourineObject, instances: list[cluster.Instance], node: str
) -> list[cluster.Instance]:
    """All, or with `node` that one. Raises NotFound, with the nodes that have it."""
    chosen = [item for item in instances if node in ("", item.spec.node_name)]
    if node and not chosen:
        there = ", ".join(item.spec.node_name for item in instances[:10]) or "no node"
        more = ", …" if len(instances) > 10 else ""
        raise NotFound(f"{service.label} is not on node {node}", hint=f"it is on {there}{more}")
    return chosen


def report_of(instance: cluster.Instance) -> StatusReport:
    """The instance as the report that the node's own command line reads."""
    status = instance.status
    return StatusReport(
        namespace=instance.metadata.namespace,
        name=instance.spec.tambourine,
        unit=instance.spec.unit,
        uid=status.uid,
        generation=status.observed_generation,
        observed_generation=status.observed_generation,
        active_state=status.active_state,
        sub_state=status.sub_state,
        reason=status.reason,
        conditions=status.conditions,
        last_command=status.last_command,
    )
