"""What the commands read of the cluster: a Tambourine, and what its nodes report of it."""

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


class Service(cluster.Shape, frozen=True):
    """A Tambourine with its spec as it stands: what this release does not know of it is kept."""

    spec: dict[str, Any] = msgspec.field(default_factory=dict)
    metadata: cluster.ObjectMeta = cluster.ObjectMeta()
    status: cluster.TambourineStatus = cluster.TambourineStatus()

    @property
    def label(self) -> str:
        return f"tambourine/{self.metadata.name}"


def service_of(item: Object) -> Service:
    """Raises HostError where a newer release wrote what this one cannot read."""
    try:
        return msgspec.convert(item, Service)
    except msgspec.ValidationError as error:
        raise HostError(
            f"Tambourine {item['metadata']['name']} is not understood: {error}",
            hint="the cluster's Tambourine is of another version than this plugin",
        ) from error


def read_service(api: Api, namespace: str, name: str) -> Service:
    """Raises NotFound, Forbidden, Unreachable."""
    try:
        return service_of(api.get(TAMBOURINES, name, namespace))
    except NotFound as error:
        raise not_found(api, namespace, name) from error


def not_found(api: Api, namespace: str, name: str) -> NotFound:
    """With the reason: the name, or that the cluster knows no Tambourines at all."""
    try:
        next(api.list_pages(TAMBOURINES, namespace, limit=1))
    except NotFound:
        return no_tambourine()
    return NotFound(
        f"tambourine/{name} not found in namespace {namespace}",
        hint="kubectl get tambourine -A lists all there are",
    )


def no_tambourine() -> NotFound:
    """Our resources are not there."""
    hint = "install it: kubectl apply -k k8s/, of the sources"
    return NotFound("this cluster has no Tambourine", hint=hint)


def instance_of(item: Object) -> cluster.Instance | None:
    """None where its shape is none of ours."""
    try:
        return msgspec.convert(item, cluster.Instance)
    except msgspec.ValidationError:
        return None


def belongs(instance: cluster.Instance, service: Service) -> bool:
    """Whether it is of this object, not of one that had its name before."""
    owners = [reference.get("uid") for reference in instance.metadata.owner_references]
    return service.metadata.uid in owners


def read_instances(api: Api, service: Service) -> list[cluster.Instance]:
    """What the nodes report of it, by node. Raises Forbidden, Unreachable."""
    pages = api.list_pages(INSTANCES, service.metadata.namespace)
    found = (instance_of(item) for page in pages for item in page.items)
    return of_service((item for item in found if item is not None), service)


def of_service(instances: Iterable[cluster.Instance], service: Service) -> list[cluster.Instance]:
    """Those that are this Tambourine's, by node."""
    mine = [item for item in instances if belongs(item, service)]
    return sorted(mine, key=lambda item: item.spec.node_name)


def on_node(
    service: Service, instances: list[cluster.Instance], node: str
) -> list[cluster.Instance]:
    """All, or with `node` that one. Raises NotFound with those there are."""
    chosen = [item for item in instances if node in ("", item.spec.node_name)]
    if node and not chosen:
        there = ", ".join(item.spec.node_name for item in instances[:10]) or "no node"
        more = ", …" if len(instances) > 10 else ""
        raise NotFound(f"{service.label} is not on node {node}", hint=f"it is on {there}{more}")
    return chosen


def report_of(instance: cluster.Instance) -> StatusReport:
    """The same as a node's own report, so that what judges one judges the other."""
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
