"""What docs/plugin.md shows is what happens: every command of its `console` blocks is run, every output line compared."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from lab.state import CHECKOUT
from tests.cluster.plugin import Plugin
from tests.cluster.world import Cluster
from tests.e2e.test_readme import matches, steps

PAGE = CHECKOUT / "docs" / "plugin.md"
NAMESPACE = "storage"


@pytest.fixture
def storage(cluster: Cluster, tmp_path: Path) -> Iterator[Path]:
    """A kubeconfig whose context means the namespace of the page."""
    config = yaml.safe_load(cluster.kubeconfig.read_text())
    config["contexts"][0]["context"]["namespace"] = NAMESPACE
    path = tmp_path / "storage.kubeconfig"
    path.write_text(json.dumps(config))
    cluster.kubectl("create", "namespace", NAMESPACE)
    yield path
    cluster.kubectl("delete", "namespace", NAMESPACE, "--timeout=60s")


def test_what_the_page_shows_is_what_happens(
    cluster: Cluster, storage: Path, tmp_path: Path
) -> None:
    plugin = Plugin(cluster, tmp_path)
    found = steps(PAGE.read_text())
    assert len(found) >= 12
    for step in found:
        done = subprocess.run(
            ["sh", "-c", f"exec 2>&1\n{step.command}\n"],
            cwd=CHECKOUT,
            capture_output=True,
            text=True,
            timeout=120,
            env={**os.environ, **plugin.environment, "KUBECONFIG": str(storage)},
        )
        actual = done.stdout.splitlines()
        assert matches(step.output, actual), (
            f"plugin.md:{step.line}: $ {step.command}\nshown:\n  "
            + "\n  ".join(step.output)
            + "\nhappens:\n  "
            + "\n  ".join(actual)
        )


def test_the_page_speaks_of_every_command() -> None:
    from tambourinefs.cli.plugin.main import COMMANDS

    text = PAGE.read_text()
    assert [
        name for name in COMMANDS if f"kubectl tambourine {name}" not in text and name != "reload"
    ] == []
    assert "reload" in text
