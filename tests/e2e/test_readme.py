"""What the README shows of one host is what happens; its part about a cluster is in tests/cluster/test_pages.py."""

from __future__ import annotations

from pathlib import Path

from tests.lab.hosts import Host
from tests.lab.tree import SOURCE
from tests.transcript import Step, play, section, steps

README = Path(__file__).parents[2] / "README.md"
HEADING = "### One host, without a cluster"


def test_what_the_readme_shows_of_one_host_is_what_happens(host: Host) -> None:
    found = steps(section(README.read_text(), HEADING))
    assert len(found) >= 5

    def run(step: Step) -> str:
        # The README's reader stands in the repository, which a host of the lab sees at SOURCE.
        script = f"exec 2>&1; cd {SOURCE}\n{step.command}\n"
        return host.run("sh", "-c", script, check=False, timeout=120).stdout

    play(README, found, run)
