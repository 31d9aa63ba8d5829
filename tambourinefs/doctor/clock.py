"""The clock: certificates, Leases and the times in statuses go by it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tambourinefs.doctor.ask import ask
from tambourinefs.doctor.finding import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tambourinefs.doctor.ask import Answer


@dataclass(frozen=True, slots=True)
class Facts:
    """What systemd-timedated says (org.freedesktop.timedate1)."""

    said: Answer
    container: bool

    def is_yes(self, name: str) -> bool:
        return f"{name}=yes" in self.said.out.split()


def probe() -> Facts:
    """Asks timedated, which the bus starts."""
    properties = "--property=NTPSynchronized,NTP,CanNTP"
    return Facts(
        ask("timedatectl", "show", "--no-pager", properties),
        ask("systemd-detect-virt", "--container", "--quiet").good,
    )


def verdict(facts: Facts) -> Iterator[Finding]:
    """One finding."""
    if facts.container:
        yield Finding("clock", "ok", "kept by the machine that this container runs on")
    elif not facts.said.good:
        text = f"systemd-timedated does not answer: {facts.said.complaint}"
        yield Finding("clock", "unknown", text, "systemctl restart systemd-timedated.service")
    elif facts.is_yes("NTPSynchronized"):
        yield Finding("clock", "ok", "kept by NTP")
    elif not facts.is_yes("CanNTP"):
        text = "nothing keeps the clock right"
        yield Finding("clock", "warning", text, "apt-get install systemd-timesyncd")
    elif not facts.is_yes("NTP"):
        text = "nothing keeps the clock right: NTP is off"
        yield Finding("clock", "warning", text, "timedatectl set-ntp true")
    else:
        text = "NTP is on, and no server has been heard yet"
        mend = "systemctl restart systemd-timesyncd.service && timedatectl timesync-status"
        yield Finding("clock", "warning", text, mend)
