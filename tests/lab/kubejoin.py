"""Makes the hosts of a lab nodes of its cluster: `kubectl tambourine join`, and on the host the command that it prints."""

from __future__ import annotations

import os
import shlex
import subprocess

from tests.lab import kubecontroller, layer, machine
from tests.lab.controlplane import ControlPlane
from tests.lab.state import HostState
from tests.lab.tools import LabError

# The lab's containers are Tambourine's own example, not a kubelet's.
POLICY = '[agent]\nallowed_units = ["containerd.service"]\n'


def join(plane: ControlPlane, hosts: list[HostState], namespace: str = "default") -> None:
    """All of them side by side; returns when each has its identity and its sync runs."""
    started = []
    for host in hosts:
        _enter(host, ["sh", "-c", "cat >/etc/tambourine/config.d/40-lab.toml"], POLICY)
        invitation = shlex.split(_invite(plane, host.name, namespace))
        started.append(
            (host, subprocess.Popen(
                machine.command(host, invitation),
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                text=True, env=machine.ENVIRONMENT,
            ))
        )  # fmt: skip
    for host, process in started:
        said, _ = process.communicate(timeout=150)
        if process.returncode != 0:
            raise LabError(f"joining {host.name}: {said.strip()}")


def _invite(plane: ControlPlane, name: str, namespace: str) -> str:
    argv = ["-m", "tambourinefs.cli.plugin.main", "join", name, f"--allow-namespace={namespace}"]
    done = subprocess.run(
        [layer.python(), *argv],
        capture_output=True,
        text=True,
        env={**os.environ, **kubecontroller.environment(), "KUBECONFIG": str(plane.kubeconfig)},
    )
    if done.returncode != 0:
        raise LabError(f"kubectl tambourine join {name}: {done.stderr.strip()}")
    return done.stdout


def _enter(host: HostState, argv: list[str], text: str) -> None:
    done = subprocess.run(
        machine.command(host, argv),
        input=text, capture_output=True, text=True, env=machine.ENVIRONMENT,
    )  # fmt: skip
    if done.returncode != 0:
        raise LabError(f"{host.name}: {' '.join(argv)}: {done.stderr.strip()}")
