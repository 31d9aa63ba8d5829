"""The process `tambourine sync`: this node's assignments down, its statuses up, and a Lease to show that it lives."""

from __future__ import annotations

import fcntl
import logging
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tambourinefs import __version__, daemon
from tambourinefs.errors import HostError, TambourineError
from tambourinefs.kube import serving
from tambourinefs.kube.access import Access
from tambourinefs.kube.api import Api
from tambourinefs.kube.backoff import Backoff
from tambourinefs.kube.events import Recorder
from tambourinefs.kube.lease import heartbeat
from tambourinefs.model import cluster, paths
from tambourinefs.model.config import Config
from tambourinefs.rpc.client import Client, Volume
from tambourinefs.sync import certificates
from tambourinefs.sync.host import Host
from tambourinefs.sync.identity import Identity
from tambourinefs.sync.loop import Sync

log = logging.getLogger(__name__)
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
    """Run until SIGTERM. Raises HostError where another sync works on this node."""
    held = _lock(lock)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    access = Access(kubeconfig, f"tambourine-sync/{__version__} ({node})")
    # One heartbeat that hangs must not make a node lost: it is tried again in time.
    api, beats = Api(access), Api(access, answer_seconds=cluster.HEARTBEAT_EVERY)
    beats.clock = api.clock  # the answers that come all the time
    client = Client.from_config(config)
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    recorder = Recorder(api, f"{cluster.GROUP}/sync", node)
    identity = Identity(api, node, Path(paths.IDENTITY))
    host = Host(client)
    sync = Sync(
        api, recorder, host, node, config.agent.namespaces, boot,
        identity=lambda: identity.problem,
        certificates=lambda: certificates.problem(Path(config.bombshell.pki), time.time()),
    )  # fmt: skip
    identity.tell = sync.bell.set
    if address:
        serving.serve(
            address,
            health=lambda: "",
            ready=lambda: sync.mine.error,
            metrics=lambda: _metrics(api.writes + beats.writes),
        )
    threads = [
        _start(lambda: sync.mine.run(stop)),
        _start(lambda: sync.run(stop)),
        _start(lambda: recorder.run(stop)),
        _start(lambda: identity.run(stop)),
        _start(lambda: _watch(client, "proc", sync.bell.set, stop)),
        _start(lambda: _watch_silo(client, host, sync, stop)),
        _start(lambda: _beat(beats, lease_namespace, node, sync, stop)),
    ]
    daemon.ready(f"node {node}")
    interval = daemon.watchdog_interval()
    while not stop.wait(interval):
        daemon.notify("WATCHDOG=1")
    daemon.notify("STOPPING=1")
    sync.bell.set()
    sync.mine.close()
    recorder.close()
    client.close()
    for thread in threads:
        thread.join(STOP_SECONDS)
    os.close(held)


def _lock(path: Path) -> int:
    """One sync a node: two would overwrite each other's word."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise HostError(
            "another sync works on this node",
            hint="Is it the DaemonSet? Then: systemctl disable --now tambourine-sync",
        ) from error
    except OSError as error:
        raise HostError(f"cannot lock {path}: {error.strerror}") from error
    return fd


def _watch(
    client: Client,
    volume: Volume,
    ring: Callable[[], None],
    stop: threading.Event,
    lost: Callable[[], None] = lambda: None,
) -> None:
    """Ring at every change that Bombshell tells of; anew when the connection went, which `lost` is told."""
    backoff, said = Backoff(0.1, 5.0), ""
    while not stop.is_set():
        try:
            with client.watch(volume, "", depth=3) as changes:
                for _ in changes:
                    backoff.reset()
                    said = ""
                    ring()
                    if stop.is_set():
                        return
        except TambourineError as error:
            if not stop.is_set() and str(error) != said:
                said = str(error)
                log.warning("watch of %s: %s", volume, said)
        lost()
        stop.wait(backoff.next())


def _watch_silo(client: Client, host: Host, sync: Sync, stop: threading.Event) -> None:
    """The same for the silo, which is listed again only when it rang."""

    def ring() -> None:
        host.rang()
        sync.bell.set()

    _watch(client, "silo", ring, stop, host.deaf)


def _beat(api: Api, namespace: str, node: str, sync: Sync, stop: threading.Event) -> None:
    """Renew the Lease; when it could not be renewed for long, others may have spoken for us."""
    last = time.monotonic()

    def renewed() -> None:
        nonlocal last
        now = time.monotonic()
        if now - last > cluster.NODE_LOST_AFTER * 0.75:
            sync.forget()
        last = now

    heartbeat(
        api, namespace, cluster.lease_name(node), node, stop, cluster.HEARTBEAT_EVERY, renewed
    )


def _start(work: object) -> threading.Thread:
    """A thread whose failure ends the process; systemd starts it anew."""

    def run() -> None:
        try:
            work()  # type: ignore[operator]
        except BaseException:
            log.critical("ending", exc_info=True)
            os._exit(1)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


def _metrics(writes: Counter[tuple[str, str]]) -> str:
    lines = [
        "# HELP tambourine_api_writes_total Writes to the API server.",
        "# TYPE tambourine_api_writes_total counter",
    ]
    for (verb, plural), count in sorted(writes.items()):
        lines.append(f'tambourine_api_writes_total{{verb="{verb}",resource="{plural}"}} {count}')
    return "\n".join(lines) + "\n"
