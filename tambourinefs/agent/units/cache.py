"""What systemd says of the units that services are about, kept current by its bell. On the trio
thread.

A unit that rings is looked at again at once. When everything may have changed, a cheap list of all
says which differ; the rest is read again a few at a time, so that a thousand units do not keep the
one that matters waiting.
"""

from __future__ import annotations

import itertools
import logging
import time
from contextlib import contextmanager
from math import inf
from typing import TYPE_CHECKING, Final

import trio

from tambourinefs.agent.ports import SystemdRefused, SystemdUnavailable
from tambourinefs.model.unit import Unit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from tambourinefs.agent.ports import Systemd, UnitState
    from tambourinefs.model.names import NamespacedName

log = logging.getLogger(__name__)

AT_ONCE: Final = 64  # units that rang, in one look
SLOWLY: Final = 16  # of those that only may have changed
PAUSE: Final = 0.1  # seconds between two such looks, when there are many
PATIENCE: Final = 0.5  # seconds that many that rang at once wait for passes and jobs to end
PATIENCE_OLD: Final = 5.0  # and what only may have changed
LEFT: Final = 0.03  # seconds that a unit is not looked at for the sake of its job
FEW: Final = 48  # so many are looked at without a pause
NEWBORN: Final = 2.0  # seconds after its fork in which a process may still have its parent's name
GROWING: Final = 0.1  # seconds until it is looked at again


class Sight:
    """Units by name, and which services are about them. `changed` is told of each service whose
    unit differs from before.
    """

    def __init__(
        self,
        systemd: Systemd,
        seen: Callable[[NamespacedName], None],
        changed: Callable[[NamespacedName], None],
        busy: Callable[[], bool] = lambda: False,
        urgent: Callable[[], set[str]] = set,
    ) -> None:
        self.units: dict[str, Unit] = {}
        self._systemd = systemd
        self._seen = seen
        self._changed = changed
        self._busy = busy
        self._urgent = urgent  # units that have a running job
        self._services: dict[str, set[NamespacedName]] = {}
        self._named: dict[NamespacedName, str] = {}
        self._rang: set[str] = set()
        self._old: set[str] = set()  # everything may have changed
        self._wake = trio.Event()
        self._referenced: set[str] = set()
        self._held: set[str] = set()
        self._left: dict[str, float] = {}  # unit -> until when its job is not disturbed
        self._compared = False  # whether the cheap list was looked through for those in `_old`
        self._question = itertools.count(1)
        self._answered: dict[str, int] = {}  # unit -> the youngest question that was answered
        self._newborn: set[str] = set()
        self._born = trio.Event()

    # -- who is interested

    def follow(self, key: NamespacedName, unit: str) -> None:
        """The service is about this unit from now on; "" for none."""
        before = self._named.get(key, "")
        if before == unit:
            return
        self._named[key] = unit
        if before:
            self._services[before].discard(key)
        if unit:
            self._services.setdefault(unit, set()).add(key)

    def unfollow(self, key: NamespacedName) -> None:
        """The service is gone."""
        self.follow(key, "")
        self._named.pop(key, None)

    def of(self, key: NamespacedName) -> Unit | None:
        """The unit of a service, as far as it is known."""
        return self.units.get(self._named.get(key, ""))

    # -- looking

    @contextmanager
    def hold(self, names: Iterable[str]) -> Iterator[None]:
        """Do not look at these while the block runs: systemd would load a unit between its file and its enablement, and keep
        saying "disabled" until the next daemon-reload.
        """
        held = set(names) - self._held
        self._held |= held
        try:
            yield
        finally:
            self._held -= held
            if self._rang or self._old:
                self._wake.set()

    def leave(self, name: str) -> None:
        """A job is about to be sent for this unit. systemd answers questions before it begins a job, and the first about
        a unit that it has just loaded takes it longest (its UnitFileState). So what rings is looked at when somebody asks
        (`look`, at the job's end), or LEFT seconds later.
        """
        self._left[name] = trio.current_time() + LEFT

    async def know(self, names: Iterable[str]) -> None:
        """See to it that these are in `units`. Raises SystemdUnavailable."""
        unknown = sorted({name for name in names if name and name not in self.units})
        if not unknown:
            return
        states = await self._systemd.states(unknown)
        there = [name for name in unknown if _is_there(states.get(name))]
        found = await self._systemd.units(there) if there else {}
        for name in unknown:
            self.units.setdefault(name, found.get(name) or Unit(name))

    async def refresh(self, names: Iterable[str]) -> None:
        """Look at those that are not as they were. Raises SystemdUnavailable."""
        question, asked = next(self._question), sorted(names)
        states = await self._systemd.states(asked)
        old = [name for name, state in states.items() if _differs(state, self.units.get(name))]
        self._take(question, await self._systemd.units(old) if old else {})

    async def unit(self, name: str) -> Unit:
        """A snapshot after all signals that came before: what they rang is answered by it. Raises
        SystemdUnavailable.
        """
        question = next(self._question)
        self._systemd.changes.answer(name)
        self._rang.discard(name)
        self._old.discard(name)
        self._left.pop(name, None)
        try:
            unit = await self._systemd.unit(name)
        except BaseException:  # also cancelled: it was not answered
            if self._services.get(name):
                self._rang.add(name)
                self._wake.set()
            raise
        self._take(question, {name: unit})
        return self.units[name]

    async def look_at(self, names: Iterable[str]) -> None:
        """The same of many."""
        question, wanted = next(self._question), list(names)
        if wanted:
            self._take(question, await self._systemd.units(wanted, fresh=True))

    def _take(self, question: int, found: dict[str, Unit]) -> None:
        """Answers may overtake each other. What a signal announced is asked for after it: the youngest question
        has the right one.
        """
        for name, unit in found.items():
            before = self.units.get(name)
            if question < self._answered.get(name, 0):
                continue
            self._answered[name] = question
            if _is_newborn(unit):
                self._newborn.add(name)
                self._born.set()
            if before == unit:
                continue
            self.units[name] = unit
            for key in sorted(self._services.get(name, ())):
                self._seen(key)
                if _essence(before) != _essence(unit):
                    self._changed(key)

    # -- tasks

    async def listen(self) -> None:
        """A task: hear systemd's bell."""
        while True:
            changes = await self._systemd.changes.wait()
            self._rang |= changes.names & self._services.keys()
            if changes.everything:
                self._old |= {name for name, keys in self._services.items() if keys}
                self._compared = False
            if self._rang or self._old:
                self._wake.set()

    async def watch(self) -> None:
        """A task: look at what rang. In an outage of systemd it waits for its return."""
        while True:
            with trio.move_on_at(min(self._left.values(), default=inf)):
                await self._wake.wait()
            try:
                await self._look_again()
            except SystemdUnavailable as error:
                log.info("units cannot be read: %s", error)
                self._wake.set()
                await self._systemd.wait_connected()

    async def watch_newborn(self) -> None:
        """A task: between fork and exec a process has its parent's name, and no signal says when it gets
        its own. Look again.
        """
        while True:
            await self._born.wait()
            self._born = trio.Event()
            await trio.sleep(GROWING)
            names, self._newborn = self._newborn & self._services.keys(), set()
            try:
                await self.look_at(sorted(names))
            except SystemdUnavailable as error:  # all are looked at again when it is back
                log.info("units cannot be read: %s", error)

    async def _look_again(self) -> None:
        begin = trio.current_time()
        while self._rang - (held := self._not_now()) or self._old - held:
            # A daemon-reload lets every unit go and come: they all ring.
            names = _some(self._rang & self._urgent(), held, AT_ONCE)
            self._rang.difference_update(names)
            rang = self._rang - held
            few = 0 < len(rang) <= FEW
            patience = PATIENCE if rang else PATIENCE_OLD
            if not names and not few and self._is_early(begin + patience):
                await self._pause()
                continue
            if not names:
                names = _some(self._rang, held, AT_ONCE)
            if not names:
                await self._find_differing()
                held = self._not_now()
                names = _some(self._rang, held, AT_ONCE)
            if not names:
                many = len(self._old) > FEW
                names = _some(self._old, held, SLOWLY)
                if many:
                    await self._pause()
            question = next(self._question)
            try:
                found = await self._systemd.units(names)
            except SystemdUnavailable:
                self._old.update(names)
                raise
            # Those that were released meanwhile are nobody's: to take them up again would hold them for ever.
            self._take(question, {n: unit for n, unit in found.items() if self._services.get(n)})
            await self._reference(names)
        self._wake = trio.Event()

    def _not_now(self) -> set[str]:
        """The units that are not to be looked at."""
        now = trio.current_time()
        self._left = {name: until for name, until in self._left.items() if until > now}
        return self._held | self._left.keys()

    def _is_early(self, patience: float) -> bool:
        return self._busy() and trio.current_time() < patience

    async def _pause(self) -> None:
        """Until something rings, at most PAUSE seconds."""
        self._wake = trio.Event()
        with trio.move_on_after(PAUSE):
            await self._wake.wait()
        self._wake.set()

    async def _find_differing(self) -> None:
        if len(self._old) <= FEW or self._compared:
            return
        self._compared = True
        states = await self._systemd.states(sorted(self._old - self._held))
        self._rang |= {n for n, state in states.items() if _differs(state, self.units.get(n))}
        self._old -= self._rang

    async def _reference(self, names: Iterable[str]) -> None:
        """What we observe keeps its result after it ended (RefUnit)."""
        for name in names:
            unit = self.units.get(name) if self._services.get(name) else None
            if name not in self._referenced and unit is not None and unit.load_state != "not-found":
                self._referenced.add(name)
                try:
                    await self._systemd.ref(name)
                except SystemdRefused as error:
                    log.debug("no reference to %s: %s", name, error)

    async def release(self, name: str) -> None:
        """Nobody is about this unit any more."""
        if not self._services.get(name):
            self._services.pop(name, None)
            self.units.pop(name, None)
            self._answered.pop(name, None)
            self._referenced.discard(name)
            await self._systemd.unref(name)


def _is_newborn(unit: Unit) -> bool:
    """Whether the main process may be seen before its exec: as "systemd", as "(name)" (rename_process_from_path()
    of systemd's src/core/exec-invoke.c) or as the executor of systemd 255.
    """
    name = unit.main_command
    if name not in ("systemd", "init", "systemd-executo") and not name.startswith("("):
        return False
    return abs(time.time() - unit.exec_main_start_usec / 1e6) < NEWBORN


def _essence(unit: Unit | None) -> tuple[object, ...]:
    """What decisions are made from; the rest is figures and words."""
    if unit is None:
        return ()
    return (
        unit.id, unit.load_state, unit.active_state, unit.sub_state, unit.result, unit.job, unit.invocation_id,
        unit.unit_file_state, unit.fragment_path, unit.drop_in_paths, unit.need_daemon_reload, unit.names,
    )  # fmt: skip


def _some(names: set[str], held: set[str], count: int) -> list[str]:
    taken = sorted(names - held)[:count]
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
