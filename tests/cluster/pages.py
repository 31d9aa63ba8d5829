"""Pages about a cluster, run on one: `$` is where kubectl and its plugin are, `h1#` a shell on that host."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

import yaml

from tests.cluster.plugin import Plugin
from tests.cluster.world import Cluster
from tests.lab.tree import SOURCE
from tests.transcript import Step

# Stands in for ssh: the lab's own way into a host. What is sent is run there, as root.
SSH = """\
#!{python}
import sys
sys.path[:0] = {path!r}
from tests.lab import machine
from tests.lab.state import LabState
import os
host = LabState({lab!r}).host(sys.argv[1].removeprefix("root@"))
command = machine.command(host, sys.argv[2:])
os.execve(command[0], command, machine.ENVIRONMENT)
"""


class Reader:
    """Who reads the page: where they stand, what is on their PATH, and which namespace their kubeconfig means."""

    def __init__(
        self, cluster: Cluster, directory: Path, *, stands: Path, namespace: str = "default"
    ) -> None:
        """`directory`: for programs and kubeconfig. `stands`: the working directory of the commands."""
        self._cluster = cluster
        self._stands = stands
        programs = directory / "programs"
        self._environment: Mapping[str, str] = {
            **Plugin(cluster, programs).environment,
            "KUBECONFIG": str(_kubeconfig(cluster, directory, namespace)),
        }
        self._lay_ssh(programs / "ssh")

    def _lay_ssh(self, program: Path) -> None:
        import sys

        text = SSH.format(python=sys.executable, path=sys.path, lab=self._cluster.state.name)
        program.write_text(text)
        program.chmod(0o755)

    def run(self, step: Step) -> str:
        """What the command prints, errors among it."""
        if step.host:
            script = f"exec 2>&1; cd {SOURCE}\n{step.command}\n"
            return self._cluster.host(step.host).run("sh", "-c", script, check=False, timeout=180).stdout  # fmt: skip
        return subprocess.run(
            ["sh", "-c", f"exec 2>&1\n{step.command}\n"],
            cwd=self._stands,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=180,
            env={**os.environ, **self._environment},
        ).stdout


def _kubeconfig(cluster: Cluster, directory: Path, namespace: str) -> Path:
    """The administrator's, whose context means this namespace."""
    config = yaml.safe_load(cluster.kubeconfig.read_text())
    config["contexts"][0]["context"]["namespace"] = namespace
    path = directory / "kubeconfig"
    path.touch(mode=0o600)
    path.write_text(json.dumps(config))
    return path
