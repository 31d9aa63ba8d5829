"""The clock: certificates, Leases and timestamps depend on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tambourinefs.doctor.check import Finding
from tambourinefs.doctor.commands import run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tambourinefs.doctor.commands import CommandResult


@dataclass(frozen=True, slots=True)
class ClockState:
    """The answer of systemd-timedated (org.freedesktop.timedate1)."""

    timedated: CommandResult
    container: bool

    def is_yes(self, name: str) -> bool:
        return f"{name}=yes" in self.timedated.stdout.split()


def probe() -> ClockState:
    """timedatectl, which starts timedated by the bus."""
    properties = "--property=NTPSynchronized,NTP,CanNTP"
    return ClockState(
        run("timedatectl", "show", "--no-pager", properties),
        run("systemd-detect-virt", "--container", "--quiet").succeeded,
    )


def findings(observed: ClockState) -> Iterator[Finding]:
    """One finding."""
    if observed.container:
        yield Finding("clock", "ok", "synchronized by the container's host")
    elif not observed.timedated.succeeded:
        text = f"systemd-timedated does not answer: {observed.timedated.error}"
        yield Finding("clock", "unknown", text, "systemctl restart systemd-timedated.service")
    elif observed.is_yes("NTPSynchronized"):
        yield Finding("clock", "ok", "synchronized by NTP")
    elif not observed.is_yes("CanNTP"):
        text = "the clock is not synchronized: no NTP client is installed"
        yield Finding("clock", "warning", text, "apt-get install systemd-timesyncd")
    elif not observed.is_yes("NTP"):
        text = "the clock is not synchronized: NTP is disabled"
        yield Finding("clock", "warning", text, "timedatectl set-ntp true")
    else:
        text = "NTP is enabled, but no server has answered yet"
        fix = "systemctl restart systemd-timesyncd.service && timedatectl timesync-status"
        yield Finding("clock", "warning", text, fix)
