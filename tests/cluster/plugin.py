"""`kubectl tambourine` as a person types it: kubectl finds the programs on PATH; the kubeconfig is the administrator's."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.cluster.world import Cluster
from tests.lab import cluster, kubeplugin

Run = Callable[..., subprocess.CompletedProcess[str]]


class Plugin:
    """The plugin on a cluster, in the test's namespace unless told otherwise."""

    def __init__(self, world: Cluster, directory: Path) -> None:
        self._cluster = world
        self._programs = directory
        kubeplugin.lay(directory, Path(sys.executable))

    @property
    def environment(self) -> dict[str, str]:
        """In which kubectl and its plugin are found, and speak as the administrator."""
        places = [str(self._programs), str(self._cluster.programs), os.environ["PATH"]]
        return {
            **cluster.BRIEF,
            "PATH": os.pathsep.join(places),
            "KUBECONFIG": str(self._cluster.kubeconfig),
        }

    def __call__(
        self,
        *argv: str,
        namespace: str | None = None,
        kubeconfig: Path | str | None = None,
        timeout: float = 300,
        environment: Mapping[str, str] | None = None,
        stdin: str = "",
    ) -> subprocess.CompletedProcess[str]:
        """`kubectl tambourine ARGV…`. `namespace` "": say none."""
        where = self._cluster.namespace if namespace is None else namespace
        option = ["-n", where] if where else []
        return self.kubectl(
            "tambourine", *argv, *option,
            kubeconfig=kubeconfig, timeout=timeout, environment=environment, stdin=stdin,
        )  # fmt: skip

    def kubectl(
        self,
        *argv: str,
        kubeconfig: Path | str | None = None,
        timeout: float = 300,
        environment: Mapping[str, str] | None = None,
        stdin: str = "",
    ) -> subprocess.CompletedProcess[str]:
        known = {**self.environment, **({"KUBECONFIG": str(kubeconfig)} if kubeconfig else {})}
        return subprocess.run(
            ["kubectl", *argv],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
            env={**os.environ, **known, **(environment or {})},
        )

    def popen(self, *argv: str) -> subprocess.Popen[str]:
        """The same, running on: its output is read by `communicate`."""
        return subprocess.Popen(
            ["kubectl", "tambourine", *argv, "-n", self._cluster.namespace],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **self.environment},
        )

    def choices(self, *words: str) -> list[str]:
        """What kubectl offers at Tab after these words, the last one being typed, without the descriptions."""
        done = self.kubectl("__complete", "tambourine", *words)
        assert done.returncode == 0, done.stderr
        *offered, directive = done.stdout.splitlines()
        assert directive.startswith(":"), done.stdout
        return [line.partition("\t")[0] for line in offered]
