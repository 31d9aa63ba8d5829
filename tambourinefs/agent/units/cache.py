"""What systemd says of the units that services are about: the one place that remembers it. On the
trio thread.

A signal says that a unit may have changed; the unit is then read whole and compared. When every
unit may have changed (reconnect, daemon-reload), a cheap list says which differ; the rest is read a
few at a time, so that a thousand units do not keep the one that matters waiting.

The caller drives it: wait() until units are to be read, read_next() some of them; updates() are
what came of that, and of all other reads.
"""

from __future__ import annotations

import itertools
import logging
import time
from contextlib import contextmanager
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Final

import trio

from tambourinefs.agent.ports import SystemdRefused
from tambourinefs.agent.units.properties import unloaded
from tambourinefs.model.unit import Unit

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from collections.abc import Set as AbstractSet

    from tambourinefs.agent.ports import Changes, Systemd, UnitState
    from tambourinefs.model.names import NamespacedName

log = logging.getLogger(__name__)

AT_ONCE: Final = 64  # units that changed, in one read
SLOWLY: Final = 16  # of those that only may have changed
PAUSE: Final = 0.1  # seconds between two such reads, when there are many
PATIENCE: Final = 0.5  # seconds that many changed units wait for passes and jobs to end
PATIENCE_UNSURE: Final = 5.0  # the same for units that only may have changed
SENDING: Final = 0.03  # seconds in which a unit is not read for the sake of its job
FEW: Final = 48  # so many are read without a pause
NEWBORN: Final = 2.0  # seconds after its fork in which a process may still have its parent's name
GROWING: Final = 0.1  # seconds until it is read again


@dataclass(frozen=True, slots=True)
class Updates:
    """Services whose units were read and differ from before."""

    services: frozenset[NamespacedName] = frozenset()
    decisive: frozenset[NamespacedName] = frozenset()  # of those: in what decisions are made from


class UnitCache:
    """Units by the names that services have for them. A newer read replaces an older one."""

    def __init__(self, systemd: Systemd) -> None:
        self.units: dict[str, Unit] = {}
        self._systemd = systemd
        self._services: dict[str, set[NamespacedName]] = {}
        self._unit_of: dict[NamespacedName, str] = {}
        self._aliases: dict[str, set[str]] = {}  # primary name -> other names in `units`
        self._numbers = itertools.count(1)
        self._read: dict[str, int] = {}  # the number of the youngest read
        self._changed: set[str] = set()
        self._unsure: set[str] = set()  # everything may have changed
        self._compared = False  # whether `_unsure` went through the cheap list
        self._since = 0.0  # when this burst of changes began
        self._held: set[str] = set()
        self._sending: dict[str, float] = {}  # until when
        self._growing: dict[str, float] = {}  # when to read it again
        self._referenced: set[str] = set()
        self._updated: set[NamespacedName] = set()
        self._decisive: set[NamespacedName] = set()
        self._update = trio.Event()

    # -- which units matter

    def follow(self, service: NamespacedName, unit: str) -> None:
        """The service is about this unit from now on; "" for none."""
        before = self._unit_of.get(service, "")
        if before == unit:
            return
        self._unit_of[service] = unit
        if before:
            self._services[before].discard(service)
        if unit:
            self._services.setdefault(unit, set()).add(service)

    def unfollow(self, service: NamespacedName) -> None:
        """The service is gone."""
        self.follow(service, "")
        self._unit_of.pop(service, None)

    def of(self, service: NamespacedName) -> Unit | None:
        """The unit of a service, as far as it is known."""
        return self.units.get(self._unit_of.get(service, ""))

    async def release(self, name: str) -> None:
        """Forget a unit that no service is about any more."""
        if not self._services.get(name):
            self._services.pop(name, None)
            unit = self.units.pop(name, None)
            if unit is not None:
                self._aliases.get(unit.id, set()).discard(name)
            self._read.pop(name, None)
            self._referenced.discard(name)
            await self._systemd.unref(name)

    # -- units that are left alone for a while

    @contextmanager
    def hold(self, names: Iterable[str]) -> Iterator[None]:
        """Do not read these while the block runs: systemd would load a unit between its file and
        its enablement, and say "disabled" until the next daemon-reload.
        """
        held = set(names) - self._held
        self._held |= held
        try:
            yield
        finally:
            self._held -= held
            self._systemd.changes.notify()

    def job_is_sent(self, name: str) -> None:
        """A job is about to be sent for this unit. systemd answers questions before it begins a
        job, and the first about a unit that it has just loaded takes it longest (its
        UnitFileState). So a change is read with unit(), at the job's end, or SENDING seconds later.
        """
        self._sending[name] = trio.current_time() + SENDING

    def _left_alone(self) -> AbstractSet[str]:
        now = trio.current_time()
        self._sending = {name: until for name, until in self._sending.items() if until > now}
        return self._held | self._sending.keys()

    # -- reading. All raise SystemdUnavailable.

    async def ensure(self, names: Iterable[str]) -> None:
        """See to it that these are in `units`."""
        unknown = sorted({name for name in names if name and name not in self.units})
        if not unknown:
            return
        states = await self._systemd.states(unknown)
        there = [name for name in unknown if _is_there(states.get(name))]
        found = await self._systemd.units(there) if there else {}
        for name in unknown:
            if name not in self.units:
                self._put(name, found.get(name) or Unit(name))

    async def refresh(self, names: Iterable[str]) -> None:
        """Read those whose cheap part differs."""
        number, asked = next(self._numbers), sorted(names)
        states = await self._systemd.states(asked)
        changed = [name for name in asked if _differs(states[name], self.units.get(name))]
        self._store(number, await self._systemd.units(changed) if changed else {})

    async def unit(self, name: str) -> Unit:
        """A unit as it is after all signals that came before."""
        self._mark(self._systemd.changes.take())
        self._changed.discard(name)
        self._unsure.discard(name)
        self._sending.pop(name, None)
        number = next(self._numbers)
        try:
            unit = await self._systemd.unit(name)
        except BaseException:  # also when cancelled: what was notified is still to be read
            if self._services.get(name):
                self._systemd.changes.notify([name])
            raise
        if name in self.units or self._services.get(name):
            self._store(number, {name: unit})
        return self.units.get(name, unit)

    async def read_all(self, names: Iterable[str]) -> None:
        """Read these now."""
        number, wanted = next(self._numbers), list(names)
        if wanted:
            self._store(number, await self._systemd.units(wanted))

    async def wait(self) -> None:
        """Wait until a unit is to be read."""
        while not self._is_due():
            with trio.move_on_at(
                min([*self._sending.values(), *self._growing.values()], default=inf)
            ):
                self._mark(await self._systemd.changes.wait())
            self._since = trio.current_time()

    async def read_next(self, urgent: AbstractSet[str], *, busy: bool) -> None:
        """Read some of the units that are to be read, those in `urgent` first. While the caller is
        `busy`, many others wait for a while.
        """
        alone = self._left_alone()
        # A daemon-reload unloads and loads every unit: all are announced.
        names = _pop(self._changed, (self._changed & urgent) - alone, AT_ONCE)
        changed = self._changed - alone
        patience = PATIENCE if changed else PATIENCE_UNSURE
        few = 0 < len(changed) <= FEW
        if not names and not few and busy and trio.current_time() < self._since + patience:
            await self._pause()
            return
        names = names or _pop(self._changed, changed, AT_ONCE)
        if not names:
            await self._find_differing()
            alone = self._left_alone()
            names = _pop(self._changed, self._changed - alone, AT_ONCE)
        if not names:
            many = len(self._unsure) > FEW
            names = _pop(self._unsure, self._unsure - alone, SLOWLY)
            if many:
                await self._pause()
        await self._read_followed(names)

    async def updates(self) -> Updates:
        """Wait until reads have found something else than before, then take all of it."""
        await self._update.wait()
        self._update = trio.Event()
        updates = Updates(frozenset(self._updated), frozenset(self._decisive))
        self._updated.clear()
        self._decisive.clear()
        return updates

    def _mark(self, changes: Changes) -> None:
        self._changed |= self._followed(changes.names)
        for name in self._followed(changes.loaded):
            unit = self.units.get(name)
            # To read a unit that systemd does not have in memory loads and unloads it: no change.
            if unit is None or not unloaded(unit):
                self._changed.add(name)
        if changes.everything:
            self._unsure |= {name for name, services in self._services.items() if services}
            self._compared = False

    def _followed(self, primary: AbstractSet[str]) -> set[str]:
        """The names that services have for units with these primary names."""
        aliases = (self._aliases[name] for name in primary & self._aliases.keys())
        return (primary & self._services.keys()).union(*aliases)

    def _is_due(self) -> bool:
        now = trio.current_time()
        grown = {name for name, at in self._growing.items() if at <= now}
        for name in grown:
            del self._growing[name]
        self._changed |= grown & self._services.keys()
        return bool((self._changed | self._unsure) - self._left_alone())

    async def _pause(self) -> None:
        """Until something changes, at most PAUSE seconds."""
        with trio.move_on_after(PAUSE):
            self._mark(await self._systemd.changes.wait())

    async def _find_differing(self) -> None:
        if len(self._unsure) <= FEW or self._compared:
            return
        self._compared = True
        states = await self._systemd.states(sorted(self._unsure - self._left_alone()))
        self._changed |= {n for n, state in states.items() if _differs(state, self.units.get(n))}
        self._unsure -= self._changed

    async def _read_followed(self, names: Iterable[str]) -> None:
        """Read, and keep the units in systemd's memory: their results outlast their end."""
        number = next(self._numbers)
        try:
            found = await self._systemd.units(names)
        except BaseException:
            self._unsure.update(names)
            raise
        # Those that were released meanwhile would be referenced for ever.
        self._store(number, {n: unit for n, unit in found.items() if self._services.get(n)})
        for name in names:
            unit = self.units.get(name) if self._services.get(name) else None
            if name not in self._referenced and unit is not None and unit.load_state != "not-found":
                self._referenced.add(name)
                try:
                    await self._systemd.ref(name)
                except SystemdRefused as error:
                    log.debug("no reference to %s: %s", name, error)

    def _store(self, number: int, found: dict[str, Unit]) -> None:
        for name, unit in found.items():
            before = self.units.get(name)
            if number < self._read.get(name, 0):
                continue  # overtaken by a younger read
            self._read[name] = number
            if _is_newborn(unit):
                self._growing[name] = trio.current_time() + GROWING
                self._systemd.changes.notify()
            if before == unit:
                continue
            self._put(name, unit)
            services = self._services.get(name, set())
            self._updated |= services
            if _essence(before) != _essence(unit):
                self._decisive |= services
            if services:
                self._update.set()

    def _put(self, name: str, unit: Unit) -> None:
        before = self.units.get(name)
        if before is not None and before.id != unit.id:
            self._aliases.get(before.id, set()).discard(name)
        self.units[name] = unit
        if unit.id not in (name, "") and name not in self._aliases.setdefault(unit.id, set()):
            self._aliases[unit.id].add(name)
            # A signal that came since it was read had a name that was not known yet.
            self._systemd.changes.notify([unit.id])


def _is_newborn(unit: Unit) -> bool:
    """Whether the main process may be seen before its exec: as "systemd", as "(name)"
    (rename_process_from_path() of systemd's src/core/exec-invoke.c) or as the executor of
    systemd 255. No signal says when it gets its own name.
    """
    name = unit.main_command
    if name not in ("systemd", "init", "systemd-executo") and not name.startswith("("):
        return False
    return abs(time.time() - unit.exec_main_start_usec / 1e6) < NEWBORN


def _essence(unit: Unit | None) -> tuple[object, ...]:
    """What decisions are made from; the rest is figures and texts."""
    if unit is None:
        return ()
    return (
        unit.id, unit.load_state, unit.active_state, unit.sub_state, unit.result, unit.job, unit.invocation_id,
        unit.unit_file_state, unit.fragment_path, unit.drop_in_paths, unit.need_daemon_reload, unit.names,
    )  # fmt: skip


def _pop(names: set[str], wanted: AbstractSet[str], count: int) -> list[str]:
    """Remove the first `count` of those wanted."""
    taken = sorted(wanted)[:count]
    names.difference_update(taken)
    return taken


def _is_there(state: UnitState | None) -> bool:
    return state is None or state.load_state != "not-found" or state.active_state != "inactive"


def _differs(state: UnitState, unit: Unit | None) -> bool:
    if unit is None:
        return True
    have = (unit.load_state, unit.active_state, unit.sub_state, unit.job[0], unit.description)
    return have != (
        state.load_state, state.active_state, state.sub_state, state.job[0], state.description,
    )  # fmt: skip
