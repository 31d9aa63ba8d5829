"""Each of our services has a set of capabilities and a filter of system calls, and its unit says why it has these."""

from __future__ import annotations

from pathlib import Path

import pytest

from tambourinefs.model import paths

SHIPPED = Path(__file__).parents[2] / "systemd"
SERVICES = sorted(file.name for file in SHIPPED.glob("*.service"))


def test_every_unit_is_listed() -> None:
    assert len(SERVICES) >= 7
    assert {*SERVICES} == {name for name in paths.OWN_UNITS if name.endswith(".service")}


@pytest.mark.parametrize("name", SERVICES)
@pytest.mark.parametrize("key", ["CapabilityBoundingSet", "SystemCallFilter"])
def test_setting_is_bounded_and_commented(name: str, key: str) -> None:
    lines = (SHIPPED / name).read_text().splitlines()
    at = next((n for n, line in enumerate(lines) if line.startswith(f"{key}=")), None)
    assert at is not None, f"{name} has no {key}="
    assert lines[at - 1].startswith("#"), f"{name}: no comment above {key}= says why"


@pytest.mark.parametrize("name", SERVICES)
def test_no_service_gains_privileges(name: str) -> None:
    lines = (SHIPPED / name).read_text().splitlines()
    assert "NoNewPrivileges=yes" in lines
    assert "SystemCallFilter=~@privileged @resources" in lines
    granted = next(line for line in lines if line.startswith("CapabilityBoundingSet="))
    for power in ("SYS_ADMIN", "SYS_PTRACE", "SYS_MODULE", "NET_ADMIN", "SYS_RAWIO", "~"):
        assert power not in granted
