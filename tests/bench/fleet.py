"""Simulate many nodes against a real API server: Node, TambourineNode, Lease and the statuses that sync
would write for their assignments. A bounded number of requests is in progress at a time.

python -m tests.bench.fleet KUBECONFIG COUNT

Prints `ready` when all nodes exist, then runs until its standard input ends.
"""

from __future__ import annotations

import os
import queue
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec

from tambourinefs import __version__
from tambourinefs.kube.api import Api, connect
from tambourinefs.kube.reflector import Reflector
from tambourinefs.kube.resources import CORE_NODES, INSTANCES, LEASES, NODES
from tambourinefs.model import cluster
from tests.cluster.member import condition, status_of

WORKERS: Final = 6  # requests in progress
BEAT_EVERY: Final = 20.0  # seconds; sync's 10 would use most of a small machine
BEATERS: Final = 4  # threads
LATE: Final = 0.75 * cluster.NODE_LOST_AFTER  # seconds
PREFIX: Final = "fleet"
# Of the size that they have on a host.
FIGURES: Final = {
    "pid": "12345 (sleep)",
    "tasks": "1 (limit: 28909)",
    "memory": "188.0K",
    "unitFileState": "enabled",
}
Work = Callable[[Api], object]


class Fleet:
    """The simulated nodes; assignments are answered in the order of their arrival."""

    def __init__(self, kubeconfig: Path, count: int) -> None:
        self._kubeconfig = kubeconfig
        self.names = [f"{PREFIX}-{n:04}" for n in range(count)]
        self._work: queue.SimpleQueue[Work] = queue.SimpleQueue()
        self._answered: dict[tuple[str, str], cluster.Assignment] = {}  # by node and uid
        self._stop = threading.Event()
        self._left = count
        self._lock = threading.Lock()
        self.made = threading.Event()

    def run(self) -> None:
        """Create the nodes and start to simulate them; return when all exist."""
        for name in self.names:
            self._work.put(lambda api, name=name: self._make(api, name))  # type: ignore[misc]
        for _ in range(WORKERS):
            self._thread(self._worker)
        self.made.wait()
        api = connect(self._kubeconfig, user_agent="tambourine-bench-fleet")
        watching: Reflector[None] = Reflector(api, NODES, project=self._look)
        self._thread(lambda: watching.run(self._stop))
        for number in range(BEATERS):
            part = self.names[number::BEATERS]
            self._thread(lambda part=part: self._beats(part))  # type: ignore[misc]
        watching.synced.wait()

    def _thread(self, work: Callable[[], None]) -> None:
        """A thread whose failure ends the process: silent nodes would falsify the measurement."""

        def run() -> None:
            try:
                work()
            except BaseException:
                traceback.print_exc()
                os._exit(1)

        threading.Thread(target=run, daemon=True).start()

    def _worker(self) -> None:
        api = connect(
            self._kubeconfig, user_agent="tambourine-bench-fleet"
        )  # connections of its own
        while True:
            self._work.get()(api)

    def _make(self, api: Api, name: str) -> None:
        metadata = {"name": name, "labels": {"kubernetes.io/hostname": name}}
        api.create(CORE_NODES, {"metadata": metadata})
        kind = {"apiVersion": NODES.api_version, "kind": NODES.kind}
        api.create(NODES, {**kind, "metadata": {"name": name}})
        status = {
            "version": __version__,
            "namespaces": ["*"],
            "conditions": [condition("Ready", "True", "Ready", 0)],
        }
        item = {"metadata": {"name": name}, "status": status}
        api.apply(NODES, item, manager=cluster.SYNC, subresource="status")
        lease = {"name": cluster.lease_name(name), "namespace": cluster.LEASE_NAMESPACE}
        api.create(
            LEASES, {"metadata": lease, "spec": {"holderIdentity": name, "renewTime": _now()}}
        )
        with self._lock:
            self._left -= 1
            if not self._left:
                self.made.set()

    def _beat(self, api: Api, name: str) -> None:
        """As sync does."""
        spec = {"holderIdentity": name, "renewTime": _now()}
        api.merge(LEASES, cluster.lease_name(name), cluster.LEASE_NAMESPACE, {"spec": spec})

    def _beats(self, names: list[str]) -> None:
        """Renew Leases evenly, on a separate thread that a queue of statuses cannot delay."""
        api = connect(self._kubeconfig, user_agent="tambourine-bench-fleet")
        while not self._stop.is_set():
            begin = time.monotonic()
            for number, name in enumerate(names):
                self._stop.wait(begin + number * BEAT_EVERY / len(names) - time.monotonic())
                self._beat(api, name)
            late = time.monotonic() - begin
            if late > LATE:  # they would count as lost, and falsify the measurement
                raise SystemExit(
                    f"heartbeats take {late:.0f} s: this machine is too busy for {len(self.names)} nodes"
                )
            self._stop.wait(begin + BEAT_EVERY - time.monotonic())

    def _look(self, item: dict[str, Any]) -> None:
        node = msgspec.convert(item, cluster.Node)
        for entry in node.spec.assignments:
            key = (node.metadata.name, entry.uid)
            if entry.state == cluster.INSTALLED and self._answered.get(key) != entry:
                self._answered[key] = entry
                self._work.put(lambda api, node=node, entry=entry: self._report(api, node.metadata.name, entry))  # type: ignore[misc] # fmt: skip

    def _report(self, api: Api, node: str, entry: cluster.Assignment) -> None:
        metadata = {
            "name": cluster.instance_name(entry.name, node),
            "namespace": entry.namespace,
        }
        status = status_of(
            cluster.to_dict(entry), **FIGURES, cgroup=f"/system.slice/{entry.name}.service"
        )
        item = {"metadata": metadata, "status": status}
        api.apply(INSTANCES, item, manager=cluster.SYNC, subresource="status")


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.000000Z", time.gmtime())


if __name__ == "__main__":
    Fleet(Path(sys.argv[1]), int(sys.argv[2])).run()
    print("ready", flush=True)
    sys.stdin.read()
