"""While nothing changes the controller writes nothing, also where it reconciles by the clock."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from tambourinefs.controller.availability import MIN_READY_SECONDS
from tambourinefs.controller.loop import CHECK_EVERY, RECONCILE_EVERY, Controller
from tambourinefs.errors import AlreadyExists, NotFound
from tambourinefs.kube.api import Page
from tambourinefs.kube.resources import (
    CORE_NODES,
    INSTANCES,
    LEASES,
    NODES,
    TAMBOURINES,
    Resource,
)
from tambourinefs.model import cluster
from tambourinefs.model.schema import API_VERSION

NODE_NAMES = ("h1", "h2", "h3")
Object = dict[str, Any]


class _Server:
    """Objects by kind, namespace and name; writes are counted. What the controller needs of an API server, no more."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str, str], Object] = {}
        self.writes: Counter[str] = Counter()
        self._version = 0

    def put(self, resource: Resource, name: str, namespace: str = "", **rest: Any) -> Object:
        self._version += 1
        key = (resource.plural, namespace, name)
        metadata = {
            "name": name, "uid": f"uid-{name}", "generation": 1, "creationTimestamp": "2026-01-01T00:00:00Z",
            **self.objects.get(key, {}).get("metadata", {}), **rest.pop("metadata", {}),
            "resourceVersion": str(self._version),
        }  # fmt: skip
        if namespace:
            metadata["namespace"] = namespace
        found = self.objects.get(key, {})
        self.objects[key] = {
            "apiVersion": API_VERSION,
            "kind": resource.kind,
            **found,
            **rest,
            "metadata": metadata,
        }
        return self.objects[key]

    def list_pages(self, resource: Resource, namespace: str = "", **_: object) -> list[Page]:
        items = [item for (kind, _, _), item in self.objects.items() if kind == resource.plural]
        return [Page(items, str(self._version))]

    def create(self, resource: Resource, item: Object) -> Object:
        metadata = item["metadata"]
        if (resource.plural, metadata["namespace"], metadata["name"]) in self.objects:
            raise AlreadyExists(metadata["name"])
        self.writes["create"] += 1
        return self.put(
            resource, metadata["name"], metadata["namespace"], metadata=metadata, spec=item["spec"]
        )

    def merge(self, resource: Resource, name: str, namespace: str, patch: Object) -> Object:
        self.writes["merge"] += 1
        spec = {"spec": patch["spec"]} if "spec" in patch else {}
        metadata = {k: v for k, v in patch.get("metadata", {}).items() if k != "resourceVersion"}
        return self.put(resource, name, namespace, metadata=metadata, **spec)

    def apply_status(
        self, resource: Resource, metadata: Object, status: Object, **_: Any
    ) -> Object:
        name, namespace = metadata["name"], metadata.get("namespace", "")
        if (resource.plural, namespace, name) not in self.objects:
            raise NotFound(name)
        self.writes["status"] += 1
        return self.put(resource, name, namespace, status=status)


@pytest.fixture
def server() -> _Server:
    """Three nodes that allow `storage`, and two Tambourines there."""
    made = _Server()
    for name in NODE_NAMES:
        made.put(CORE_NODES, name)
        ready = {
            "type": "Ready", "status": "True", "reason": "Ready", "message": "", "observedGeneration": 1,
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }  # fmt: skip
        made.put(
            NODES,
            name,
            spec={},
            status={"version": "1", "namespaces": ["storage"], "conditions": [ready]},
        )
        made.put(LEASES, cluster.lease_name(name), cluster.LEASE_NAMESPACE)
    for name in ("zfs", "net"):
        spec = {"name": name, "unit": "[Service]\nExecStart=/bin/true\n", "command": "start"}
        made.put(TAMBOURINES, name, "storage", spec=spec)
    return made


@pytest.fixture
def now() -> list[float]:
    return [0.0]


@pytest.fixture
def controller(server: _Server, now: list[float]) -> Iterator[Controller]:
    made = Controller(server, _Silent(), clock=lambda: now[0])  # type: ignore[arg-type]
    yield made
    made._writers.close()


class _Silent:
    def event(self, *_: object, **__: object) -> None:
        """Events are written elsewhere."""


def _settle(server: _Server, controller: Controller, now: list[float]) -> None:
    """What the nodes do of their assignments is reported, until nothing is written any more."""
    for _ in range(20):
        before = server.writes.total()
        for reflector in controller.reflectors:
            reflector._list()
        controller.reconcile()
        for (kind, namespace, name), item in list(server.objects.items()):
            if kind == INSTANCES.plural and "status" not in item:
                _report(server, namespace, name, item["spec"]["tambourine"])
        now[0] += 1.5
        if server.writes.total() == before:
            return
    raise AssertionError(f"it writes on and on: {server.writes}")


def _report(server: _Server, namespace: str, name: str, service: str, generation: int = 1) -> None:
    conditions = [
        {
            "type": kind, "status": "True", "reason": kind, "message": "", "observedGeneration": generation,
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }
        for kind in ("Accepted", "Applied", "Ready")
    ]  # fmt: skip
    status = {
        "uid": f"uid-{service}",
        "observedGeneration": generation,
        "activeState": "active",
        "conditions": conditions,
    }
    server.put(INSTANCES, name, namespace, status=status)


def test_nothing_is_written_over_an_hour_in_which_nothing_changes(
    server: _Server, controller: Controller, now: list[float]
) -> None:
    _settle(server, controller, now)
    ready = server.objects["tambourines", "storage", "zfs"]["status"]
    assert ready["ready"] == "3/3"
    assert server.writes["create"] >= 2 + 6, "it did not do its work: its silence says nothing"
    server.writes.clear()
    looks, until = 0, now[0] + 3600
    while now[0] < until:
        now[0] += CHECK_EVERY
        for name in NODE_NAMES:  # their heartbeats
            server.put(LEASES, cluster.lease_name(name), cluster.LEASE_NAMESPACE)
        controller.leases._list()
        if controller._is_due():
            looks += 1
            assert not controller.reconcile()
    assert looks >= 3600 / RECONCILE_EVERY - 1
    assert server.writes == Counter()


def test_a_rollout_goes_on_when_time_alone_has_passed(
    server: _Server, controller: Controller, now: list[float]
) -> None:
    _settle(server, controller, now)
    spec = {"name": "zfs", "unit": "[Service]\nExecStart=/bin/false\n", "command": "start"}
    server.put(TAMBOURINES, "zfs", "storage", metadata={"generation": 2}, spec=spec)

    def look() -> bool:
        for reflector in controller.reflectors:
            reflector._list()
        return controller.reconcile()

    def told() -> list[str]:
        return [
            name
            for name in NODE_NAMES
            for item in server.objects[NODES.plural, "", name]["spec"]["assignments"]
            if item["name"] == "zfs" and item["generation"] == 2
        ]

    look()
    (first,) = told()
    _report(server, "storage", cluster.instance_name("zfs", first), "zfs", generation=2)
    look()
    now[0] += MIN_READY_SECONDS * 0.9
    assert not controller._is_due()
    look()
    assert told() == [first]
    now[0] += MIN_READY_SECONDS * 0.2
    assert controller._is_due(), "it does not come back by itself"
    look()
    assert len(told()) == 2
    assert not controller._is_due()
