"""The process `tambourine controller`: waits until it leads, then works; ends where it cannot renew its Lease."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
import time
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
from tambourinefs.kube.workers import Workers
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
    """Run until SIGTERM. `namespaces`: whose Tambourines; empty for all. `deadline`: seconds that a deletion waits for
    silent nodes. `address`: host:port of health and metrics, or "".
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
    approver = Approver(api, leader_namespace)
    if address:
        serving.serve(
            address,
            ready=lambda: "",
            health=lambda: _health(controller),
            metrics=lambda: (
                serving.write_metrics(api.writes + leases.writes) + _metrics(controller)
            ),
        )
    elector = lease.Elector(leases, leader_namespace, cluster.CONTROLLER, identity)
    log.info("waiting to lead as %s", identity)
    if not elector.acquire(stop):
        return
    log.info("leading")
    workers = Workers(stop)
    workers.start(elector.renew)
    for reflector in (*controller.reflectors, approver.requests):
        workers.start(reflector.run)
    workers.start(controller.run)
    workers.start(recorder.run)
    workers.start(approver.run)
    daemon.ready("leading")
    if lost := elector.wait(stop):
        log.error("%s; ending", lost)
        # At once: no thread may write after another process may lead, and an exit that waits for them would let it.
        os._exit(1)
    recorder.close()
    approver.close()
    controller.close()
    if workers.join(STOP_SECONDS):
        elector.release()


def _health(controller: Controller) -> str:
    """Why this process is not healthy, or "". Not leading is healthy."""
    for reflector in controller.reflectors:
        silent = time.monotonic() - reflector.last_contact
        if reflector.synced.is_set() and silent > WITHOUT_CONTACT:
            return "the API server has sent nothing for 15 minutes"
    return ""


def _metrics(controller: Controller) -> str:
    lines = [
        "# HELP tambourine_objects Objects in memory.",
        "# TYPE tambourine_objects gauge",
    ]
    for kind, reflector in (
        ("Tambourine", controller.services),
        ("TambourineNode", controller.members),
        ("TambourineInstance", controller.reports),
        ("TambourineRevision", controller.revisions),
        ("Node", controller.nodes),
    ):
        lines.append(f'tambourine_objects{{kind="{kind}"}} {len(reflector.items)}')
    return "\n".join(lines) + "\n"
