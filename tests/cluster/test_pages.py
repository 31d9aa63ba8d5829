"""What README.md and docs/plugin.md show of a cluster is what happens: each command run, each line compared."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.manifests import sleeper
from tests.cluster.pages import Reader
from tests.cluster.world import Cluster
from tests.lab.state import CHECKOUT
from tests.transcript import play, section, steps

README, PLUGIN = CHECKOUT / "README.md", CHECKOUT / "docs/plugin.md"
# What a package of the distribution would have brought: the unit of the founding document's story.
ALICE = sleeper("Pool of Alice").replace("[Service]", "Documentation=man:zpool(8)\n[Service]")
ALICE_FILE = "/usr/lib/systemd/system/alice-zfs.service"


@pytest.fixture
def storage(cluster: Cluster) -> Iterator[str]:
    """The namespace of the plugin's page."""
    cluster.kubectl("create", "namespace", "storage")
    yield "storage"
    cluster.kubectl("delete", "namespace", "storage", "--timeout=60s")


@pytest.fixture
def alice(cluster: Cluster) -> Iterator[None]:
    """Both hosts have alice-zfs.service, stopped."""
    for host in cluster.hosts:
        host.run("sh", "-c", f"cat >{ALICE_FILE}; systemctl daemon-reload", input=ALICE)
    yield
    cluster.kubectl("delete", "tambourine", "--all", "-n", "default", "--timeout=60s")
    for host in cluster.hosts:
        host.run("systemctl", "stop", "alice-zfs.service")
        host.run("sh", "-c", f"rm {ALICE_FILE}; systemctl daemon-reload")


def test_what_the_readme_shows_of_a_cluster_is_what_happens(
    cluster: Cluster, alice: None, tmp_path: Path
) -> None:
    found = steps(section(README.read_text(), "### A cluster"))
    assert len(found) >= 12
    play(README, found, Reader(cluster, tmp_path, stands=CHECKOUT).run)


def test_what_the_plugins_page_shows_is_what_happens(
    cluster: Cluster, storage: str, tmp_path: Path
) -> None:
    found = steps(PLUGIN.read_text())
    assert len(found) >= 12
    play(PLUGIN, found, Reader(cluster, tmp_path, stands=CHECKOUT, namespace=storage).run)


def test_the_plugins_page_speaks_of_every_command() -> None:
    from tambourinefs.cli.plugin.main import COMMANDS

    text = PLUGIN.read_text()
    assert [
        name for name in COMMANDS if f"kubectl tambourine {name}" not in text and name != "reload"
    ] == []
    assert "reload" in text
