"""What the agent needs of systemd and journald, as Protocols.

reconcile is written against these; `agent.units.systemd`, `agent.journal` and `agent.verify` are the real
ones and tests/fakes/systemd.py is the fake that passes the real one's own tests. Nothing here
speaks D-Bus.

All of it runs on the trio thread. No call here is bounded by the length of a job (a job's time is
systemd's own); every other question to systemd is bounded and ends in `SystemdUnavailable` when PID
1 does not answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from tambourinefs.errors import HostError, NotFound, RefusedByPolicy, Unreachable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tambourinefs.model.unit import Unit


class SystemdUnavailable(Unreachable):
    """The bus or PID 1 does not answer. `may_have_happened`: the request was sent and its reply was
    lost.
    """

    def __init__(self, message: str, *, may_have_happened: bool = False, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.may_have_happened = may_have_happened


class UnitNotFound(NotFound):
    """systemd knows no unit of that name, and finds no file for it."""


class SystemdRefused(HostError):  # noqa: N818
    """systemd answered with an error. `error` is the D-Bus error name, `message` systemd's own
    words.
    """

    def __init__(self, message: str, *, error: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.error = error


class UnitMasked(SystemdRefused):
    """The unit (or one that the job needs) is masked."""


class UnitLoadFailed(SystemdRefused):
    """The unit file is broken (BadUnitSetting, LoadFailed)."""


class JobRefused(SystemdRefused):
    """No job was made: RefuseManualStart=, a unit type that cannot do it, a conflicting
    transaction, shutdown.
    """


class NotPermitted(RefusedByPolicy):
    """systemd or polkit denies it (the agent is not root)."""


@dataclass(frozen=True, slots=True)
class Changes:
    """What may have changed: units by primary name, of all that systemd has."""

    names: frozenset[str] = frozenset()
    loaded: frozenset[str] = frozenset()  # loaded into or unloaded from systemd's memory
    # Any unit may have changed, beyond these: connected, disconnected, daemon-reload, unit files
    # that concern many.
    everything: bool = False


class ChangeNotifications(Protocol):
    """A set of names, not a queue: it cannot overflow, and a name that is notified twice is in it
    once. One task waits on it.
    """

    async def wait(self) -> Changes:
        """Wait for notify(), then take all of it: empty where another took it first."""
        ...

    def take(self) -> Changes:
        """What was notified since the last time, possibly nothing."""
        ...

    def notify(
        self, names: Iterable[str] = (), *, loaded: Iterable[str] = (), everything: bool = False
    ) -> None:
        """Say that these may have changed (also for the agent's own use). Without arguments: wake
        who waits.
        """
        ...


@dataclass(frozen=True, slots=True)
class JobResult:
    """How a job ended.

    `result` is systemd's: done, canceled, timeout, failed, dependency, skipped, invalid,
    assert, unsupported, collected, once, frozen, concurrency; or `unknown`: it ended while the bus
    was away, and the unit does not prove how. `invocation_id` is the unit's after a job that was
    requested, 32 hex digits or ""; also "" where the unit has a reference (Systemd.ref) and keeps
    it. "done" does not mean that a condition held, nor that a Type=simple process lives on: read
    the unit.
    """

    unit: str
    result: str
    invocation_id: str = ""


@dataclass(frozen=True, slots=True)
class InstallChanges:
    """What enable or disable did. `changes` are (type, path, target): ("symlink",
    "/etc/…/x.service", "/lib/…"), ("unlink", path, "").
    """

    changes: tuple[tuple[str, str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class UnitState:
    """The cheap part of a unit (one line of `systemctl list-units`): enough to see whether it has
    to be read whole.
    """

    name: str  # as it was asked for
    id: str
    description: str = ""
    load_state: str = "not-found"
    active_state: str = "inactive"
    sub_state: str = "dead"
    job: tuple[int, str] = (0, "")


class Systemd(Protocol):
    """PID 1. Errors, unless said otherwise: SystemdUnavailable, SystemdRefused and what derives
    from them.
    """

    @property
    def connected(self) -> bool:
        """Whether there is a bus connection on which systemd answered. Each time that this changes
        `everything` is notified.
        """
        ...

    @property
    def boot_id(self) -> str:
        """32 hex digits that name this boot."""
        ...

    @property
    def changes(self) -> ChangeNotifications: ...

    async def wait_connected(self) -> None:
        """Wait until `connected`."""
        ...

    # -- reading

    async def unit(self, name: str) -> Unit:
        """A whole snapshot. A unit that is not loaded is loaded for it, so unit_file_state and
        fragment_path are right; one that does not exist is a Unit with load_state "not-found", not
        an error; masked is "masked". A unit with a broken file has load_state "bad-setting" or
        "error" and load_error.
        """
        ...

    async def units(self, names: Iterable[str]) -> dict[str, Unit]:
        """Snapshots of many, by the names asked for. An impossible name maps to a not-found Unit."""
        ...

    async def states(self, names: Iterable[str]) -> dict[str, UnitState]:
        """The cheap part of many units in one call."""
        ...

    async def unit_file_state(self, name: str) -> str:
        """enabled, disabled, static, masked, alias, generated, transient, indirect, …; "" when
        there is no file. Read from the disk (unlike Unit.unit_file_state, which is as of the last
        daemon-reload).
        """
        ...

    # -- files

    async def reload(self) -> None:
        """daemon-reload; returns when it is done. Answers only after every unit file was read
        again.
        """
        ...

    async def enable(self, names: Sequence[str], *, force: bool = False) -> InstallChanges:
        """Make the symlinks of [Install], for ever (runtime is false). Raises UnitNotFound without
        a file, UnitMasked. For units that are already loaded unit_file_state is stale until the
        next reload().
        """
        ...

    async def disable(self, names: Sequence[str]) -> InstallChanges:
        """Remove them. A unit without a file is not an error, but systemd then leaves its symlinks:
        disable first, delete after.
        """
        ...

    # -- jobs
    # Each returns when systemd's job has ended, however long that takes; cancel the scope to stop
    # waiting (the job goes on). Raises UnitNotFound, UnitMasked, UnitLoadFailed, JobRefused when no
    # job was made; SystemdUnavailable with may_have_happened when it is not known whether one was
    # made. Mode is always "replace".

    async def start(self, name: str) -> JobResult: ...

    async def stop(self, name: str) -> JobResult:
        """A unit that is not loaded raises UnitNotFound."""
        ...

    async def restart(self, name: str) -> JobResult: ...

    async def reload_unit(self, name: str) -> JobResult:
        """ExecReload=. JobRefused when the unit cannot reload or is not active."""
        ...

    async def wait_job(self, name: str) -> JobResult | None:
        """Wait for the job that the unit has now (another client's, or one from before a restart of
        the agent); None: it has none.
        """
        ...

    async def reset_failed(self, name: str) -> None:
        """Forget the failed state and the restart counter. A unit that is not loaded is not an
        error.
        """
        ...

    async def ref(self, name: str) -> None:
        """Keep the unit in memory while connected, so that a finished oneshot keeps its Result.

        Idempotent; renewed after a reconnect. A unit that does not exist is not an error: ask again when it does. At
        most 160 units are held (systemd loses its bus beyond 512), further ones silently not: enabled units
        need none, their target holds them. A restart of the bus drops all references, and what they kept.
        """
        ...

    async def unref(self, name: str) -> None:
        """Release it. Never an error."""
        ...


class Journal(Protocol):
    """journald's files."""

    async def last_lines(self, unit: str, invocation_id: str, count: int) -> tuple[str, ...]:
        """The last `count` lines of this invocation of this unit, oldest first, as `systemctl
        status` prints them: "Nov 22 22:01:02 host identifier[pid]: message". Bounded in size and
        time; what could not be had in time is left out: () rather than an error. Not from the trio
        thread. invocation_id "" gives the unit's last lines of this boot.
        """
        ...

    async def started_since(self, unit: str, monotonic_usec: int) -> str | None:
        """The InvocationID of the unit's last start in this boot that systemd logged after that
        moment of CLOCK_MONOTONIC, "" where there was none, None where it cannot be known. Bounded
        in time.
        """
        ...
