"""The process `tambourine sync`: this node's assignments down, its statuses up, and a Lease as its heartbeat."""

from __future__ import annotations

import fcntl
import os
import signal
import threading
import time
from pathlib import Path
from typing import Final

from tambourinefs import __version__, daemon
from tambourinefs.errors import HostError
from tambourinefs.kube import lease, serving, workloop
from tambourinefs.kube.access import Access
from tambourinefs.kube.api import Api
from tambourinefs.kube.events import Recorder
from tambourinefs.kube.workers import Workers
from tambourinefs.kube.workloop import Backoff
from tambourinefs.model import cluster, paths
from tambourinefs.model.config import Config
from tambourinefs.rpc.client import Client
from tambourinefs.sync import certificates
from tambourinefs.sync.host import HostClient
from tambourinefs.sync.identity import Identity
from tambourinefs.sync.loop import Sync

STOP_SECONDS: Final = 5.0


def main(
    config: Config,
    *,
    kubeconfig: Path | None,
    node: str,
    lease_namespace: str,
    lock: Path,
    address: str,
) -> None:
    """Run until SIGTERM. Raises HostError where another sync runs on this node."""
    locked = _lock(lock)
    stop, changed = threading.Event(), threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    access = Access(kubeconfig, f"tambourine-sync/{__version__} ({node})")
    # A heartbeat that hangs is given up in time for another one, before the node counts as lost.
    api = Api(access)
    leases = Api(access, answer_seconds=cluster.HEARTBEAT_EVERY, clock=api.clock)
    client = Client.from_config(config)
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    recorder = Recorder(api, f"{cluster.GROUP}/sync", node)
    identity = Identity(api, node, Path(paths.IDENTITY), changed)
    host = HostClient(client, changed)
    sync = Sync(
        api, recorder, host, node, config.agent.namespaces, boot, changed,
        identity=lambda: identity.problem,
        certificates=lambda: certificates.problem(Path(config.bombshell.pki), time.time()),
    )  # fmt: skip
    if address:
        serving.serve(
            address,
            health=lambda: "",
            ready=lambda: sync.node.error,
            metrics=lambda: serving.write_metrics(api.writes + leases.writes),
        )
    workers = Workers(stop)
    workers.start(sync.node.run)
    workers.start(sync.run)
    workers.start(recorder.run)
    workers.start(identity.run)
    workers.start(lambda stop: host.watch("proc", stop))
    workers.start(lambda stop: host.watch("silo", stop))
    workers.start(lambda stop: _send_heartbeats(leases, lease_namespace, node, sync, stop))
    daemon.ready(f"node {node}")
    interval = daemon.watchdog_interval()
    while not stop.wait(interval):
        daemon.notify("WATCHDOG=1")
    daemon.notify("STOPPING=1")
    changed.set()
    sync.node.close()
    recorder.close()
    client.close()
    workers.join(STOP_SECONDS)
    os.close(locked)


def _lock(path: Path) -> int:
    """One sync a node: two would overwrite each other's statuses."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise HostError(
            "another sync runs on this node",
            hint="if it is the DaemonSet's: systemctl disable --now tambourine-sync",
        ) from error
    except OSError as error:
        raise HostError(f"cannot lock {path}: {error.strerror}") from error
    return fd


def _send_heartbeats(
    api: Api, namespace: str, node: str, sync: Sync, stop: threading.Event
) -> None:
    """Renew the node's Lease; after a long gap the controller may have replaced the statuses."""
    renewed = time.monotonic()

    def step(_: bool) -> float:
        nonlocal renewed
        lease.beat(api, namespace, cluster.lease_name(node), node)
        before, renewed = renewed, time.monotonic()
        if renewed - before > cluster.NODE_LOST_AFTER * 0.75:
            sync.resync()
        return cluster.HEARTBEAT_EVERY

    workloop.run(step, stop, retry=Backoff(1.0, cluster.HEARTBEAT_EVERY))
