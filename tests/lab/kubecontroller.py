"""Tambourine's controllers in the lab: processes of this tree in the cluster's network, with their ServiceAccount's rights.

What the Deployment runs in a pod, without the pod: the lab has no kubelet.
"""

from __future__ import annotations

import json
import os
import signal
from base64 import b64encode
from contextlib import suppress
from pathlib import Path
from typing import Final

from tests.lab import cluster, controlplane, kubeapi, layer
from tests.lab.controlplane import ControlPlane
from tests.lab.state import CHECKOUT, Process
from tests.lab.tools import wait_until

PREFIX: Final = "tambourine-controller"
IDENTITY: Final = "controller.kubeconfig"


def name_of(number: int) -> str:
    return f"{PREFIX}-{number}"


def start(plane: ControlPlane, number: int = 1) -> None:
    """Start one (the Deployment runs two); it leads when no other does."""
    give_identity(plane)
    controlplane.spawn(plane, name_of(number))


def end(plane: ControlPlane, number: int = 1, how: signal.Signals = signal.SIGKILL) -> None:
    """End it, without a word unless `how` lets it speak."""
    keeper, worker = plane.process(name_of(number)), process(plane, number)
    os.kill(keeper.pid, signal.SIGKILL)
    os.kill(worker.pid, how)
    wait_until(lambda: not worker.alive(), 20, f"{name_of(number)} to end")


def process(plane: ControlPlane, number: int = 1) -> Process:
    """The controller itself, a child of the process that restarts it, as the kubelet does."""
    keeper = plane.process(name_of(number)).pid

    found: list[Process] = []

    def runs() -> bool:
        """What starts it has other children before."""
        for child in Path(f"/proc/{keeper}/task/{keeper}/children").read_text().split():
            with suppress(FileNotFoundError, ProcessLookupError):
                one = Process.of(int(child))
                if b"controller" in Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0"):
                    found.append(one)
        return bool(found)

    wait_until(runs, 20, f"{name_of(number)} to run")
    return found[0]


def give_identity(plane: ControlPlane) -> None:
    """A token of its ServiceAccount, as the kubelet projects one into the pod."""
    token = kubeapi.token(plane.server, plane.pki, cluster.NAMESPACE, PREFIX)
    authority = b64encode((plane.pki / "ca.crt").read_bytes()).decode()
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {"name": "lab", "cluster": {"server": plane.server, "certificate-authority-data": authority}}
        ],
        "users": [{"name": PREFIX, "user": {"token": token}}],
        "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": PREFIX}}],
        "current-context": "lab",
    }  # fmt: skip
    path = plane.pki / IDENTITY
    new = path.with_suffix(".new")
    new.touch(mode=0o600)
    new.write_text(json.dumps(config, indent=2))
    new.replace(path)


def command(plane: ControlPlane, name: str) -> list[str]:
    """How it is started: this tree as it is now, on the packages of the lab's hosts."""
    number = int(name.removeprefix(f"{PREFIX}-"))
    forever = 'while :; do "$@"; sleep 1; done'
    return [
        "sh", "-c", forever, name, str(layer.python()), "-m", "tambourinefs.cli.main", "controller",
        f"--kubeconfig={plane.pki / IDENTITY}", f"--leader-namespace={cluster.NAMESPACE}",
        f"--health-address=127.0.0.1:{9440 + number}", *plane.options(PREFIX),
    ]  # fmt: skip


def environment() -> dict[str, str]:
    """In which `layer.python()` runs this tree as it is now; compiled once, and not into the tree."""
    return {
        "PYTHONPATH": str(CHECKOUT),
        "PYTHONPYCACHEPREFIX": str(layer.cache() / "compiled"),
        "PYTHONDONTWRITEBYTECODE": "",
    }
