"""The system bus, and systemd on it: by it the agent sends jobs and sees changes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tambourinefs.doctor.ask import ask
from tambourinefs.doctor.finding import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tambourinefs.doctor.ask import Answer

_BUSCTL: Final = ("busctl", "--system", "--no-pager", "--timeout=6")
_BUS: Final = ("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", "GetId")
_SYSTEMD: Final = (
    "org.freedesktop.systemd1",
    "/org/freedesktop/systemd1",
    "org.freedesktop.systemd1.Manager",
    "Version",
)


@dataclass(frozen=True, slots=True)
class Facts:
    """`systemd` is None where the bus did not answer."""

    bus: Answer
    systemd: Answer | None


def probe() -> Facts:
    """Ask the bus who it is, then systemd for its version."""
    bus = ask(*_BUSCTL, "call", *_BUS)
    return Facts(bus, ask(*_BUSCTL, "get-property", *_SYSTEMD) if bus.good else None)


def verdict(facts: Facts) -> Iterator[Finding]:
    """One finding."""
    if facts.bus.status is None:
        mend = "systemctl kill --signal=SIGKILL dbus.service; systemctl start dbus.socket"
        yield Finding("dbus", "error", "the system bus does not answer", mend)
    elif not facts.bus.good:
        text = f"the system bus cannot be reached: {facts.bus.complaint}"
        yield Finding("dbus", "error", text, "systemctl restart dbus.socket dbus.service")
    elif facts.systemd is None or not facts.systemd.good:
        said = facts.systemd.complaint if facts.systemd else "no answer"
        # systemd(1), SIGUSR1: it connects to the bus again.
        text = f"systemd is not on the system bus: {said}"
        yield Finding("dbus", "error", text, "kill -USR1 1")
    else:
        version = facts.systemd.out.strip().removeprefix("s ").strip('"')
        yield Finding("dbus", "ok", f"the system bus answers, systemd {version} is on it")
