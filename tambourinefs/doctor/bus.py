"""The system bus, and systemd on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tambourinefs.doctor.check import Finding
from tambourinefs.doctor.commands import run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tambourinefs.doctor.commands import CommandResult

_BUSCTL: Final = ("busctl", "--system", "--no-pager", "--timeout=6")
_BUS: Final = ("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", "GetId")
_SYSTEMD: Final = (
    "org.freedesktop.systemd1",
    "/org/freedesktop/systemd1",
    "org.freedesktop.systemd1.Manager",
    "Version",
)


@dataclass(frozen=True, slots=True)
class BusState:
    """`systemd` is None if the bus did not answer."""

    bus: CommandResult
    systemd: CommandResult | None


def probe() -> BusState:
    """The ID of the bus, then systemd's version."""
    bus = run(*_BUSCTL, "call", *_BUS)
    return BusState(bus, run(*_BUSCTL, "get-property", *_SYSTEMD) if bus.succeeded else None)


def findings(observed: BusState) -> Iterator[Finding]:
    """One finding."""
    if observed.bus.returncode is None:
        fix = "systemctl kill --signal=SIGKILL dbus.service; systemctl start dbus.socket"
        yield Finding("dbus", "error", "the system bus does not answer", fix)
    elif not observed.bus.succeeded:
        text = f"the system bus cannot be reached: {observed.bus.error}"
        yield Finding("dbus", "error", text, "systemctl restart dbus.socket dbus.service")
    elif observed.systemd is None or not observed.systemd.succeeded:
        answer = observed.systemd.error if observed.systemd else "no answer"
        # systemd(1), SIGUSR1: it connects to the bus again.
        text = f"systemd is not on the system bus: {answer}"
        yield Finding("dbus", "error", text, "kill -USR1 1")
    else:
        version = observed.systemd.stdout.strip().removeprefix("s ").strip('"')
        yield Finding("dbus", "ok", f"the system bus answers, systemd {version} is on it")
