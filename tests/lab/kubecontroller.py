"""Tambourine's controllers in the lab: processes of this tree in the cluster's network, with their ServiceAccount's rights.

What the Deployment runs in a pod, without the pod: the lab has no kubelet.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
from base64 import b64encode
from pathlib import Path
from typing import Final

from lab import cluster, controlplane, layer, tree
from lab.controlplane import ControlPlane
from lab.state import CHECKOUT
from lab.tools import run, wait_until

PREFIX: Final = "tambourine-controller"
IDENTITY: Final = "controller.kubeconfig"
CLONE_NEWNS: Final = 0x00020000  # linux/sched.h


def name_of(number: int) -> str:
    return f"{PREFIX}-{number}"


def start(plane: ControlPlane, number: int = 1) -> None:
    """Start one (the Deployment runs two); it leads when no other does."""
    layer.prepared()
    give_identity(plane)
    controlplane.spawn(plane, name_of(number))


def end(plane: ControlPlane, number: int = 1, how: signal.Signals = signal.SIGKILL) -> None:
    """End it, without a word unless `how` lets it speak."""
    process = plane.process(name_of(number))
    os.kill(process.pid, how)
    wait_until(lambda: not process.alive(), 20, f"{name_of(number)} to end")


def give_identity(plane: ControlPlane) -> None:
    """A token of its ServiceAccount, as the kubelet projects one into the pod."""
    token = cluster.kubectl(
        plane, "create", "token", PREFIX, "--namespace", cluster.NAMESPACE, "--duration=24h"
    ).strip()
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
    """How it is started; `enter` must have been called before."""
    number = int(name.removeprefix(f"{PREFIX}-"))
    return [
        f"{tree.PREFIX}/bin/python", "-m", "tambourinefs.cli.main", "controller",
        f"--kubeconfig={plane.pki / IDENTITY}", f"--leader-namespace={cluster.NAMESPACE}",
        f"--health-address=127.0.0.1:{9440 + number}",
    ]  # fmt: skip


def environment() -> dict[str, str]:
    """The tree as it is now."""
    return {"PYTHONPATH": str(CHECKOUT), "PYTHONDONTWRITEBYTECODE": "1"}


def enter() -> None:
    """See the packages of the lab's hosts at their place: a mount namespace of this process alone."""
    packages, _ = layer.prepared()
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNS) != 0:
        raise OSError(ctypes.get_errno(), "mount namespace")
    run("mount", "--make-rprivate", "/")
    place = Path(tree.PREFIX)
    if not place.exists():
        run("mount", "-t", "tmpfs", "tambourine-lab", str(place.parent))
        place.mkdir()
    run("mount", "--bind", str(packages), str(place))
