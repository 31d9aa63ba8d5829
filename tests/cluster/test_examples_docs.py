"""What the pages of docs/examples show is what happens: each command run, each line compared."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cluster import examples
from tests.cluster.pages import Reader
from tests.cluster.world import Cluster
from tests.lab.state import CHECKOUT
from tests.transcript import play, steps

PAGES = sorted((CHECKOUT / "docs/examples").glob("*.md"))
# What a page says that stays: containerd, which is the host's own and was started, and iptables' own empty table.
STAYS = {
    "cri": ("systemctl", "stop", "containerd.service"),
    "iptables": ("nft", "delete", "table", "ip", "filter"),
}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_what_the_page_of_an_example_shows_is_what_happens(
    cluster: Cluster, tmp_path: Path, page: Path
) -> None:
    namespace = cluster.allowed_namespace
    try:
        play(
            page,
            steps(page.read_text()),
            Reader(cluster, tmp_path, stands=CHECKOUT, namespace=namespace).run,
        )
    finally:
        file = str(examples.path(page.stem))
        kubectl = ("delete", "--ignore-not-found", "-n", namespace, "-f", file, "--timeout=60s")
        cluster.kubectl(*kubectl, timeout=90)
        for host in cluster.hosts:
            if page.stem in STAYS:
                host.run(*STAYS[page.stem], check=False)
