"""What `systemd-analyze security` says of our units does not get worse, and is what docs/security.md says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tambourinefs.model import paths
from tests.daemons import AGENT, BOMBSHELL, SILO
from tests.lab.hosts import Host

PAGE = Path(__file__).parents[2] / "docs/security.md"
# A row of the page's table: the unit, and its exposure.
ROW = re.compile(r"^\| `(tambourine\S*\.service)` \| ([0-9.]+) \|", re.MULTILINE)
SCORES = {unit: float(score) for unit, score in ROW.findall(PAGE.read_text())}
STALE = 0.3  # so much better than the page says: then the page is old


def test_page_lists_each_service() -> None:
    assert set(SCORES) == {name for name in paths.OWN_UNITS if name.endswith(".service")}


@pytest.mark.parametrize("unit", SCORES)
def test_exposure_is_as_documented(host: Host, unit: str) -> None:
    said = host.run("systemd-analyze", "security", "--no-pager", unit).stdout
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", said)
    assert found is not None, said
    assert SCORES[unit] - STALE <= float(found[1]) <= SCORES[unit]


@pytest.mark.parametrize("unit", [SILO, AGENT, BOMBSHELL])
def test_the_sandbox_is_in_force(host: Host, unit: str) -> None:
    pid = host.run("systemctl", "show", "-p", "MainPID", "--value", unit).stdout.strip()
    status = dict(
        line.split(":\t", 1)
        for line in (host.root / f"proc/{pid}/status").read_text().splitlines()
        if ":\t" in line
    )
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2"
    may_mount = 1 << 21  # CAP_SYS_ADMIN, linux/capability.h
    assert not int(status["CapEff"], 16) & may_mount
    if unit == BOMBSHELL:
        assert int(status["CapEff"], 16) == 0
        assert status["Uid"].split() == ["61000"] * 4
