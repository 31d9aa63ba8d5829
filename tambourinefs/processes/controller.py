"""The process `tambourine controller`: it waits until it leads, then works; who cannot renew its lease ends."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tambourinefs import __version__, daemon
from tambourinefs.controller.approver import Approver
from tambourinefs.controller.loop import Controller
from tambourinefs.kube import lease, serving
from tambourinefs.kube.access import Access
from tambourinefs.kube.api import Api
from tambourinefs.kube.events import Recorder
from tambourinefs.model import cluster

log = logging.getLogger(__name__)
STOP_SECONDS: Final = 5.0
WITHOUT_CONTACT: Final = 900.0  # seconds: a watch lasts ten minutes, a bookmark comes every minute


def main(
    *,
    kubeconfig: Path | None,
    namespaces: Sequence[str],
    leader_namespace: str,
    lease_namespace: str,
    deadline: float,
    address: str,
) -> None:
    """Run until SIGTERM. `namespaces`: whose Tambourines; none means all. `deadline`: seconds that a deletion waits for
    nodes that are away. `address`: host:port of health and metrics, or "".
    """
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    access = Access(kubeconfig, f"tambourine-controller/{__version__}")
    api, leases = Api(access), Api(access, answer_seconds=lease.ANSWER_SECONDS)
    identity = f"{socket.gethostname()}_{os.getpid()}_{time.time_ns()}"
    recorder = Recorder(api, f"{cluster.GROUP}/controller", identity)
    controller = Controller(
        api, recorder, lease_namespace=lease_namespace, namespaces=namespaces, deadline=deadline
    )
    if address:
        serving.serve(
            address,
            ready=lambda: "",
            health=lambda: _health(controller),
            metrics=lambda: _metrics(api.writes + leases.writes, controller),
        )
    elector = lease.Elector(
        leases, leader_namespace, cluster.CONTROLLER, identity, lambda: os._exit(1)
    )
    log.info("waiting to lead as %s", identity)
    if not elector.acquire(stop):
        return
    log.info("leading")
    threads = [_start(reflector.run, stop) for reflector in controller.reflectors]
    approver = Approver(api, leader_namespace)
    threads += [
        _start(work, stop)
        for work in (controller.run, recorder.run, approver.requests.run, approver.run)
    ]
    daemon.ready("leading")
    elector.hold(stop)
    recorder.close()
    approver.close()
    for reflector in controller.reflectors:
        reflector.close()
    for thread in threads:
        thread.join(STOP_SECONDS)


def _start(work: object, stop: threading.Event) -> threading.Thread:
    """A thread whose failure ends the process: half a controller must not hold the lease."""

    def run() -> None:
        try:
            work(stop)  # type: ignore[operator]
        except BaseException:
            log.critical("ending", exc_info=True)
            os._exit(1)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


def _health(controller: Controller) -> str:
    """Why we are not well; "" while we are. Not leading is well."""
    for reflector in controller.reflectors:
        if reflector.synced.is_set() and time.monotonic() - reflector.contact > WITHOUT_CONTACT:
            return "the API server has not been heard of for 15 minutes"
    return ""


def _metrics(writes: Counter[tuple[str, str]], controller: Controller) -> str:
    lines = [
        "# HELP tambourine_api_writes_total Writes to the API server.",
        "# TYPE tambourine_api_writes_total counter",
    ]
    for (verb, plural), count in sorted(writes.items()):
        lines.append(f'tambourine_api_writes_total{{verb="{verb}",resource="{plural}"}} {count}')
    lines += [
        "# HELP tambourine_objects Objects that are known.",
        "# TYPE tambourine_objects gauge",
    ]
    for name in ("services", "members", "reports", "revisions", "nodes"):
        lines.append(f'tambourine_objects{{kind="{name}"}} {len(getattr(controller, name).items)}')
    return "\n".join(lines) + "\n"
