"""A node whose host is the test: it reads its assignments and reports statuses through the real API server, as sync does."""

from __future__ import annotations

from typing import Any

from tambourinefs.kube.resources import CORE_NODES, INSTANCES, LEASES, NODES
from tambourinefs.model import cluster as model
from tests.cluster.world import Cluster

SINCE = "2026-01-02T03:04:05Z"
Object = dict[str, Any]


class Member:
    """One node. Its Lease is written once: within 40 s the controller takes it for alive."""

    def __init__(self, cluster: Cluster, name: str, *namespaces: str) -> None:
        self.name = name
        self._cluster = cluster
        self._api = cluster.api
        self._api.create(CORE_NODES, {"metadata": {"name": name}})
        self._api.create(
            NODES,
            {"apiVersion": NODES.api_version, "kind": NODES.kind, "metadata": {"name": name}},
        )
        self._status: Object = {
            "version": "0.1.0",
            "namespaces": list(namespaces),
            "conditions": [condition("Ready", "True", "Ready", 0)],
        }
        self._say()
        self.beat()

    def beat(self) -> None:
        """Renew the Lease."""
        spec = {"holderIdentity": self.name, "renewTime": "2026-01-02T03:04:05.000000Z"}
        metadata = {"name": model.lease_name(self.name), "namespace": model.LEASE_NAMESPACE}
        self._api.apply(LEASES, {"metadata": metadata, "spec": spec}, manager=model.SYNC)

    @property
    def assignments(self) -> list[Object]:
        """What the controller says that it shall have."""
        found: list[Object] = self._api.get(NODES, self.name).get("spec", {}).get("assignments", [])
        return found

    def assigned(self, name: str) -> Object:
        """Of that Tambourine; {} while there is none."""
        return next((item for item in self.assignments if item["name"] == name), {})

    def report(self, name: str, **values: Any) -> None:
        """That it has done what is assigned now: Ready, with these values of the status (`journal=[…]`) over it."""
        entry = self.assigned(name)
        status = status_of(entry, **values)
        metadata = {
            "name": model.instance_name(name, self.name),
            "namespace": entry["namespace"],
        }
        item = {"metadata": metadata, "status": status}
        self._api.apply(INSTANCES, item, manager=model.SYNC, subresource="status")

    def acknowledge(self) -> None:
        """That every tombstone was carried out."""
        self._status["acknowledged"] = [
            {key: item[key] for key in ("uid", "generation", "state")}
            for item in self.assignments
            if item.get("state", model.INSTALLED) != model.INSTALLED
        ]
        self._say()

    @property
    def tombstones(self) -> list[Object]:
        return [
            item
            for item in self.assignments
            if item.get("state", model.INSTALLED) != model.INSTALLED
        ]

    def _say(self) -> None:
        item = {"metadata": {"name": self.name}, "status": self._status}
        self._api.apply(NODES, item, manager=model.SYNC, subresource="status")


def status_of(entry: Object, **values: Any) -> Object:
    """An instance's status that says that this assignment is done and its unit runs; `values` are laid over it."""
    name, generation = entry["name"], entry["generation"]
    status: Object = {
        "uid": entry["uid"],
        "observedGeneration": generation,
        "revision": entry.get("revision", ""),
        "systemdName": f"{name}.service - {name}",
        "loaded": f"loaded (/etc/systemd/system/{name}.service; enabled)",
        "active": "active (running) since Fri 2026-01-02 03:04:05 UTC",
        "activeState": "active",
        "subState": "running",
        "since": SINCE,
        "conditions": [
            condition(kind, "True", kind, generation) for kind in ("Accepted", "Applied", "Ready")
        ],
        **values,
    }
    if "lastCommand" not in values and entry.get("commandID"):
        status["lastCommand"] = {
            "command": entry["command"], "commandID": entry["commandID"], "result": "done",
        }  # fmt: skip
    return status


def condition(kind: str, status: str, reason: str, generation: int, message: str = "") -> Object:
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message,
        "observedGeneration": generation,
        "lastTransitionTime": SINCE,
    }
