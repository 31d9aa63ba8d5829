"""What `systemd-analyze security` says of our units does not get worse."""

from __future__ import annotations

import re

import pytest

from lab.hosts import Host
from tests.e2e.chain import AGENT, BOMBSHELL, SILO

SYNC = "tambourine-sync.service"
MODULE = "tambourine-module.service"
RENEWER = "tambourine-pki-renew.service"


@pytest.mark.parametrize(
    ("unit", "limit"),
    [(SILO, 1.5), (AGENT, 2.0), (BOMBSHELL, 0.6), (SYNC, 1.5), (MODULE, 0.3), (RENEWER, 1.0)],
)
def test_exposure_is_low(host: Host, unit: str, limit: float) -> None:
    said = host.run("systemd-analyze", "security", "--no-pager", unit).stdout
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", said)
    assert found is not None, said
    assert float(found[1]) <= limit


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
