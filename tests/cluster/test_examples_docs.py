"""What the pages of docs/examples show is what happens: `$` commands on a person's machine, `#` ones as root on h1."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
import yaml

from lab.state import CHECKOUT
from tests.cluster import examples
from tests.cluster.world import Cluster
from tests.e2e.test_readme import Step, matches, steps

PAGES = CHECKOUT / "docs" / "examples"


@pytest.fixture
def kubeconfig(cluster: Cluster, tmp_path: Path) -> Path:
    """One whose context means the test's namespace."""
    config = yaml.safe_load(cluster.kubeconfig.read_text())
    config["contexts"][0]["context"]["namespace"] = cluster.respected_namespace
    path = tmp_path / "kubeconfig"
    path.write_text(json.dumps(config))
    return path


def _run(cluster: Cluster, kubeconfig: Path, step: Step) -> list[str]:
    script = f"exec 2>&1\n{step.command}\n"
    if step.prompt == "#":
        done = cluster.host("h1").run("sh", "-c", script, check=False, timeout=120)
    else:
        done = subprocess.run(
            ["sh", "-c", script],
            cwd=CHECKOUT,
            capture_output=True,
            text=True,
            timeout=120,
            env={
                **os.environ,
                "KUBECONFIG": str(kubeconfig),
                "PATH": f"{cluster.programs}:{os.environ['PATH']}",
            },
        )
    return done.stdout.splitlines()


@pytest.mark.parametrize("page", sorted(PAGES.glob("*.md")), ids=lambda page: page.stem)
def test_what_a_page_shows_is_what_happens(cluster: Cluster, kubeconfig: Path, page: Path) -> None:
    found = steps(page.read_text())
    try:
        for step in found:
            actual = _run(cluster, kubeconfig, step)
            assert matches(step.output, actual), (
                f"{page.name}:{step.line}: {step.prompt} {step.command}\nshown:\n  "
                + "\n  ".join(step.output)
                + "\nhappens:\n  "
                + "\n  ".join(actual)
            )
    finally:
        file = str(examples.path(page.stem))
        kubectl = ("delete", "--ignore-not-found", "-n", cluster.respected_namespace, "-f", file)
        cluster.kubectl(*kubectl, "--timeout=60s", timeout=90)
        if page.stem == "cri":  # it started the hosts' own containerd, and leaves it running
            for host in cluster.hosts:
                host.run("systemctl", "stop", "containerd.service")
        if page.stem == "iptables":
            for host in cluster.hosts:
                host.run("nft", "delete", "table", "ip", "filter", check=False)
