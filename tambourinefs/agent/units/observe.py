"""Snapshots of units: everything once, then only what changed.

It remembers what it saw. A signal makes one memory stale; a look at many units is one
ListUnitsByNames plus two calls for each unit that is stale. It must not decide anything.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import trio

from tambourinefs.agent.ports import SystemdRefused, UnitNotFound, UnitState
from tambourinefs.agent.units.properties import to_path, to_state, to_unit, unloaded
from tambourinefs.errors import TambourineError
from tambourinefs.model import names as unit_names
from tambourinefs.model.unit import OLDEST_RELEASE, Process, Unit

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence
    from pathlib import Path

    from tambourinefs.agent.dbus.manager import Manager

JOB: Final = "org.freedesktop.systemd1.Job"
JOB_PATHS: Final = "/org/freedesktop/systemd1/job/"
BATCH: Final = 1000  # names in one ListUnitsByNames
SIDE_BY_SIDE: Final = 16  # units fetched at once
PROCESSES_MAX: Final = 4096  # of one unit
REMEMBERED_MAX: Final = 16384
TYPES: Final = frozenset({*unit_names.UNIT_TYPES, *unit_names.UNIT_TYPES_REFUSED})
CHARACTERS: Final = re.compile(
    r"[A-Za-z0-9:_.\\-][A-Za-z0-9:_.\\@-]*"
)  # unit_name_is_valid() of systemd
NO_INSTANCE: Final = "a template has no state: name an instance (NAME@INSTANCE)"


def unaskable(name: str) -> str:
    """Why systemd can have no unit of this name to look at; "" if it may have one."""
    stem, dot, suffix = name.rpartition(".")
    fits = len(name) <= unit_names.UNIT_NAME_MAX and CHARACTERS.fullmatch(stem) is not None
    if not dot or suffix not in TYPES or not fits:
        return f'"{unit_names.printable(name)}" is not a unit name'
    return NO_INSTANCE if stem.endswith("@") else ""


class Observer:
    """What systemd said, and how current that is."""

    def __init__(self, manager: Manager, *, proc: Path) -> None:
        self.release = OLDEST_RELEASE  # of the systemd that answers
        self._manager = manager
        self._proc = proc
        self._epoch = 0
        self._seen: dict[str, Unit] = {}  # by primary name
        self._stale: dict[str, object] = {}  # primary name -> the mark of its latest signal
        self._looking = 0
        self._look_number = itertools.count(1)
        self._look_of: dict[str, int] = {}  # primary name -> the look that `_seen` is of
        self._aliases: dict[str, set[str]] = {}  # primary name -> names asked for
        self._primary: dict[str, str] = {}  # name asked for -> primary name

    # -- news, synchronous

    def stale(self, unit: str) -> set[str]:
        """Forget how this unit (primary name) looked; returns all names by which it is known here.

        Nobody asked for the others, and our own looks make systemd announce them (a unit that is
        loaded changes the dependencies of basic.target …): they are no news, unless a first look is
        under way, whose name is not known yet.
        """
        known = self._aliases.get(unit)
        if known is None and not self._looking:
            return set()
        self._stale[unit] = object()
        if len(self._stale) > REMEMBERED_MAX:
            self.everything_stale()
        return {unit, *(known or ())}

    def came_or_went(self, unit: str) -> set[str]:
        """systemd loaded a unit or let it go. Our own looks do that as well: such a one is no news
        (an empty set).
        """
        seen = self._seen.get(unit)
        return set() if seen is not None and unloaded(seen) else self.stale(unit)

    def everything_stale(self) -> None:
        """Signals may have been missed, or files were read again."""
        self._epoch += 1  # what is being read now is not remembered
        self._seen.clear()
        self._look_of.clear()
        self._stale.clear()

    def forget(self, name: str) -> None:
        """Nobody asks for this name any more."""
        unit = self._primary.pop(name, "")
        known = self._aliases.get(unit, set())
        known.discard(name)
        if not known:
            self._aliases.pop(unit, None)
            self._seen.pop(unit, None)
            self._look_of.pop(unit, None)
            self._stale.pop(unit, None)

    # -- looking

    async def unit(self, name: str) -> Unit:
        """A fresh snapshot of one."""
        reason = unaskable(name)
        return await self._impossible(name, reason) if reason else await self._look(name)

    async def units(self, asked: Iterable[str], *, fresh: bool) -> dict[str, Unit]:
        """Snapshots by the names asked for; see ports.Systemd.units."""
        names = list(dict.fromkeys(asked))
        states = await self.states(names)
        found: dict[str, Unit] = {}
        wanted = []
        for name in names:
            seen = self._seen.get(states[name].id)
            if (
                seen is None
                or fresh
                or states[name].id in self._stale
                or _moved(seen, states[name])
            ):
                wanted.append(name)
            else:
                found[name] = replace(seen, name=name)
                self._name(name, seen.id)

        async def fetch(name: str) -> None:
            found[name] = await self.unit(name)

        await _side_by_side(fetch, wanted)
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

    async def _look(self, name: str) -> Unit:
        # Old until the answer is here, for whoever asks meanwhile; and still after it, when another signal came.
        names = (name, self._primary.get(name, name))
        marks = [(each, self._stale[each]) for each in names if each in self._stale]
        epoch, number = self._epoch, next(self._look_number)
        self._looking += 1
        try:
            unit = await self._read(name)
            if epoch == self._epoch and number > self._look_of.get(unit.id, 0):
                self._remember(unit)
                self._look_of[unit.id] = number
            for each, mark in marks:
                if self._stale.get(each) is mark:
                    del self._stale[each]
        finally:
            self._looking -= 1
        return unit

    async def _read(self, name: str) -> Unit:
        try:
            unit = to_unit(name, await self._manager.properties(to_path(name), name))
        except (UnitNotFound, SystemdRefused) as error:
            return Unit(name=name, id=name, load_error=("", error.message))
        return replace(
            unit,
            release=self.release,
            job=(unit.job[0], await self._job_type(unit.job[0])),
            main_command=self._command(unit.main_pid),
            control_command=self._command(unit.control_pid),
            processes=await self._processes(unit),
            triggered_by=await self._triggered_by(unit),
        )

    def _remember(self, unit: Unit) -> None:
        if len(self._aliases) >= REMEMBERED_MAX:
            self.everything_stale()
            self._aliases.clear()
            self._primary.clear()
        self._seen[unit.id] = unit
        self._name(unit.name, unit.id)

    def _name(self, name: str, unit: str) -> None:
        before = self._primary.get(name, unit)
        if before != unit:  # an alias that points elsewhere now
            self._aliases.get(before, set()).discard(name)
        self._primary[name] = unit
        self._aliases.setdefault(unit, set()).add(name)

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


def _moved(seen: Unit, state: UnitState) -> bool:
    """Whether the cheap part tells that the memory is old (a signal that has not been read yet)."""
    return (
        seen.load_state != state.load_state
        or seen.active_state != state.active_state
        or seen.sub_state != state.sub_state
        or seen.job[0] != state.job[0]
        or seen.description != state.description
    )


async def _side_by_side(run: Callable[[str], Awaitable[None]], items: Sequence[str]) -> None:
    """Run for each item, a few at a time; the first error ends all and comes out bare."""
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
