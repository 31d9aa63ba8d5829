"""Units read from systemd and /proc, whole. It remembers nothing; units/cache.py does."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import trio

from tambourinefs.agent.ports import SystemdRefused, UnitNotFound, UnitState
from tambourinefs.agent.units.properties import to_path, to_state, to_unit
from tambourinefs.errors import TambourineError
from tambourinefs.model import names as unit_names
from tambourinefs.model.unit import Process, Unit

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence
    from pathlib import Path

    from tambourinefs.agent.dbus.manager import Manager

JOB: Final = "org.freedesktop.systemd1.Job"
JOB_PATHS: Final = "/org/freedesktop/systemd1/job/"
BATCH: Final = 1000  # names in one ListUnitsByNames
SIDE_BY_SIDE: Final = 16  # units fetched at once
PROCESSES_MAX: Final = 4096  # of one unit
TYPES: Final = frozenset({*unit_names.UNIT_TYPES, *unit_names.UNIT_TYPES_REFUSED})
CHARACTERS: Final = re.compile(
    r"[A-Za-z0-9:_.\\-][A-Za-z0-9:_.\\@-]*"
)  # unit_name_is_valid() of systemd
NO_INSTANCE: Final = "a template has no state: name an instance (NAME@INSTANCE)"


def unaskable(name: str) -> str:
    """Why systemd cannot have a unit of this name; "" if it may have one."""
    stem, dot, suffix = name.rpartition(".")
    fits = len(name) <= unit_names.UNIT_NAME_MAX and CHARACTERS.fullmatch(stem) is not None
    if not dot or suffix not in TYPES or not fits:
        return f'"{unit_names.printable(name)}" is not a unit name'
    return NO_INSTANCE if stem.endswith("@") else ""


class UnitFetcher:
    """Reads units. Errors: those of dbus.manager.Manager."""

    def __init__(self, manager: Manager, *, proc: Path) -> None:
        self._manager = manager
        self._proc = proc

    async def unit(self, name: str) -> Unit:
        """See ports.Systemd.unit."""
        reason = unaskable(name)
        return await self._impossible(name, reason) if reason else await self._read(name)

    async def units(self, asked: Iterable[str]) -> dict[str, Unit]:
        """See ports.Systemd.units."""
        names = list(dict.fromkeys(asked))
        found: dict[str, Unit] = {}

        async def fetch(name: str) -> None:
            found[name] = await self.unit(name)

        await _side_by_side(fetch, names)
        return {name: found[name] for name in names}

    async def states(self, asked: Iterable[str]) -> dict[str, UnitState]:
        """One row for each name."""
        names = list(dict.fromkeys(asked))
        states = {name: UnitState(name=name, id=name) for name in names}
        possible = [name for name in names if not unaskable(name)]
        for start in range(0, len(possible), BATCH):
            batch = possible[start : start + BATCH]
            (rows,) = await self._manager.call("ListUnitsByNames", "as", batch)
            # One row for each, in order; a name that cannot be loaded at all would be left out.
            if len(rows) == len(batch):
                states.update(
                    (name, to_state(name, row)) for name, row in zip(batch, rows, strict=True)
                )
            else:
                by_id = {row[0]: row for row in rows}
                states.update((n, to_state(n, by_id[n])) for n in batch if n in by_id)
        return states

    async def _impossible(self, name: str, reason: str) -> Unit:
        state = await self.unit_file_state(name) if reason == NO_INSTANCE else ""
        return Unit(name=name, id=name, load_error=("", reason), unit_file_state=state)

    async def unit_file_state(self, name: str) -> str:
        """As systemctl is-enabled says; "" when there is no file."""
        try:
            (state,) = await self._manager.call("GetUnitFileState", "s", name)
        except (UnitNotFound, SystemdRefused):
            return ""
        return str(state)

    async def _read(self, name: str) -> Unit:
        try:
            unit = to_unit(name, await self._manager.properties(to_path(name), name))
        except (UnitNotFound, SystemdRefused) as error:
            return Unit(name=name, id=name, load_error=("", error.message))
        return replace(
            unit,
            release=self._manager.release,
            job=(unit.job[0], await self._job_type(unit.job[0])),
            main_command=self._command(unit.main_pid),
            control_command=self._command(unit.control_pid),
            processes=await self._processes(unit),
            triggered_by=await self._triggered_by(unit),
        )

    async def _job_type(self, number: int) -> str:
        if not number:
            return ""
        try:
            return str(await self._manager.property(f"{JOB_PATHS}{number}", JOB, "JobType"))
        except (UnitNotFound, SystemdRefused):
            return ""  # it has just ended

    def _command(self, pid: int) -> str:
        if not pid:
            return ""
        try:
            comm = (self._proc / str(pid) / "comm").read_bytes()
        except OSError:
            return ""  # it has just ended
        return comm.removesuffix(b"\n").decode(errors="replace")

    async def _processes(self, unit: Unit) -> tuple[Process, ...]:
        if not unit.control_group:
            return ()
        try:
            (rows,) = await self._manager.call("GetUnitProcesses", "s", unit.id)
        except (UnitNotFound, SystemdRefused):
            return ()  # unloaded, or its cgroup removed, since
        return tuple(Process(cgroup, pid, command) for cgroup, pid, command in rows[:PROCESSES_MAX])

    async def _triggered_by(self, unit: Unit) -> tuple[tuple[str, str], ...]:
        triggers = [name for name, _ in unit.triggered_by]
        if not triggers:
            return ()
        states = await self.states(triggers)
        return tuple((name, states[name].active_state) for name in triggers)


async def _side_by_side(run: Callable[[str], Awaitable[None]], items: Sequence[str]) -> None:
    """Run for each item, a few at a time; the first error ends all and is raised alone."""
    waiting = iter(items)
    failed: list[TambourineError] = []

    async def worker(scope: trio.CancelScope) -> None:
        try:
            for item in waiting:
                await run(item)
        except TambourineError as error:
            failed.append(error)
            scope.cancel()

    async with trio.open_nursery() as nursery:
        for _ in range(min(SIDE_BY_SIDE, len(items))):
            nursery.start_soon(worker, nursery.cancel_scope)
    if failed:
        raise failed[0]
