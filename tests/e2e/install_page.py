"""docs/install.md on a host: each of its sections is run by the test of what it is about."""

from __future__ import annotations

from pathlib import Path

from tests.lab.hosts import Host
from tests.transcript import Step, play, section, steps

PAGE = Path(__file__).parents[2] / "docs" / "install.md"


def follow(host: Host, heading: str, *, stands: str) -> str:
    """Do what the section shows, standing in a directory of the host, and return all that was printed.

    AssertionError where something else is printed than the page says.
    """
    said: list[str] = []

    def run(step: Step) -> str:
        script = f"exec 2>&1; export DEBIAN_FRONTEND=noninteractive; cd {stands}\n{step.command}\n"
        said.append(host.run("bash", "-c", script, check=False, timeout=300).stdout)
        return said[-1]

    found = steps(section(PAGE.read_text(), heading))
    assert found, heading
    play(PAGE, found, run)
    return "".join(said)
