"""What the cache remembers of units when signals, reads and releases come across each other."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.testing

from tambourinefs.agent.ports import UnitState
from tambourinefs.agent.units.cache import FEW, SENDING, UnitCache, Updates
from tambourinefs.model.unit import Unit
from tests.fakes.agent import SLEEPS
from tests.fakes.systemd import FakeSystemd

pytestmark = pytest.mark.trio
KEY, UNIT = ("local", "a"), "a.service"


class Counting(FakeSystemd):
    """Counts reads; one of them waits where there is a gate."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.reads: list[str] = []
        self.gates: list[trio.Event] = []

    async def unit(self, name: str) -> Unit:
        self.reads.append(name)
        found = await super().unit(name)
        if self.gates:
            await self.gates.pop(0).wait()
        return found

    async def states(self, names: Iterable[str]) -> dict[str, UnitState]:
        found = {name: await FakeSystemd.unit(self, name) for name in names}
        return {
            name: UnitState(
                name, u.id, u.description, u.load_state, u.active_state, u.sub_state, u.job
            )
            for name, u in found.items()
        }

    def gate(self) -> trio.Event:
        """The answer to the next read waits for it."""
        self.gates.append(trio.Event())
        return self.gates[-1]


@pytest.fixture
def systemd(tmp_path: Path) -> Counting:
    (tmp_path / UNIT).write_text(SLEEPS)
    return Counting(tmp_path)


@pytest.fixture
def cache(systemd: Counting) -> UnitCache:
    cache = UnitCache(systemd)
    cache.follow(KEY, UNIT)
    return cache


async def keep_current(cache: UnitCache) -> None:
    while True:
        await cache.wait()
        await cache.read_next(frozenset(), busy=False)


@asynccontextmanager
async def kept_current(cache: UnitCache) -> AsyncIterator[None]:
    """As the loop does it, while the block runs."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keep_current, cache)
        await trio.testing.wait_all_tasks_blocked(0.01)
        yield
        await trio.testing.wait_all_tasks_blocked(0.01)
        nursery.cancel_scope.cancel()


async def test_a_unit_is_read_again_only_after_a_notification(
    systemd: Counting, cache: UnitCache
) -> None:
    async with kept_current(cache):
        assert systemd.reads == [UNIT]  # connected: everything may have changed
        systemd.changes.notify(["other.service"], loaded=["more.service"])
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert systemd.reads == [UNIT]
        await systemd.start(UNIT)
    assert cache.units[UNIT].active_state == "active"
    assert 1 < len(systemd.reads) < 5


async def test_loading_a_unit_that_is_not_in_memory_is_no_change(
    systemd: Counting, cache: UnitCache
) -> None:
    async with kept_current(cache):
        systemd.changes.notify(loaded=[UNIT])
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert systemd.reads == [UNIT]
        await systemd.start(UNIT)
        await trio.testing.wait_all_tasks_blocked(0.01)
        before = len(systemd.reads)
        systemd.changes.notify(loaded=[UNIT])
    assert len(systemd.reads) == before + 1


async def test_a_read_answers_what_was_notified_before_it(
    systemd: Counting, cache: UnitCache
) -> None:
    async with kept_current(cache):
        await systemd.start(UNIT)
        await cache.unit(UNIT)
        before = len(systemd.reads)
    assert len(systemd.reads) == before
    assert (await cache.updates()).decisive == {KEY}


async def test_other_units_that_were_notified_before_a_read_are_read_too(
    systemd: Counting, cache: UnitCache, tmp_path: Path
) -> None:
    (tmp_path / "b.service").write_text(SLEEPS)
    cache.follow(("local", "b"), "b.service")
    async with kept_current(cache):
        await systemd.start("b.service")
        await cache.unit(UNIT)
    assert cache.units["b.service"].active_state == "active"


async def test_a_signal_during_a_read_causes_another(systemd: Counting, cache: UnitCache) -> None:
    async with kept_current(cache):
        gate = systemd.gate()
        systemd.changes.notify([UNIT])
        await trio.testing.wait_all_tasks_blocked(0.01)
        await systemd.start(UNIT)
        assert cache.units[UNIT].active_state == "inactive"
        gate.set()
    assert cache.units[UNIT].active_state == "active"


async def test_a_cancelled_read_is_made_up_for(systemd: Counting, cache: UnitCache) -> None:
    async with kept_current(cache):
        systemd.gate()
        await systemd.start(UNIT)
        with trio.move_on_after(0):
            await cache.unit(UNIT)
        systemd.gates.clear()
    assert cache.units[UNIT].active_state == "active"


async def test_an_older_read_does_not_replace_a_younger_one(
    systemd: Counting, cache: UnitCache
) -> None:
    gate = systemd.gate()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(cache.unit, UNIT)
        await trio.testing.wait_all_tasks_blocked()
        await systemd.start(UNIT)
        assert (await cache.unit(UNIT)).active_state == "active"
        gate.set()
    assert cache.units[UNIT].active_state == "active"


async def test_an_alias_is_read_when_the_unit_it_stands_for_changes(
    systemd: Counting, cache: UnitCache, tmp_path: Path
) -> None:
    (tmp_path / "alias.service").symlink_to(tmp_path / UNIT)
    cache.follow(("local", "alias"), "alias.service")
    async with kept_current(cache):
        assert cache.units["alias.service"].id == UNIT
        await systemd.start(UNIT)
    assert cache.units["alias.service"].active_state == "active"
    assert (await cache.updates()).services >= {("local", "alias"), KEY}


async def test_updates_tell_decisive_changes_from_figures(
    systemd: Counting, cache: UnitCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    await cache.unit(UNIT)
    assert await cache.updates() == Updates(frozenset({KEY}), frozenset({KEY}))
    figures = dataclasses.replace(cache.units[UNIT], tasks_current=7)

    async def unit(name: str) -> Unit:
        await trio.lowlevel.checkpoint()
        return figures

    monkeypatch.setattr(systemd, "unit", unit)
    await cache.unit(UNIT)
    assert await cache.updates() == Updates(frozenset({KEY}))


async def test_a_unit_that_is_released_while_it_is_read_is_not_referenced_again(
    systemd: Counting, cache: UnitCache
) -> None:
    gate = systemd.gate()
    async with kept_current(cache):
        cache.unfollow(KEY)
        await cache.release(UNIT)
        gate.set()
    assert not systemd._units[UNIT].referenced
    assert UNIT not in cache.units


async def test_units_that_are_held_are_read_after(systemd: Counting, cache: UnitCache) -> None:
    async with kept_current(cache):
        before = len(systemd.reads)
        with cache.hold([UNIT]):
            await systemd.start(UNIT)
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert len(systemd.reads) == before
    assert cache.units[UNIT].active_state == "active"


async def test_after_an_outage_units_that_differ_are_read_first(
    systemd: Counting, tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    names = [f"n-{number:03}.service" for number in range(2 * FEW)]
    cache = UnitCache(systemd)
    for name in names:
        (tmp_path / name).write_text(SLEEPS)
        cache.follow(("local", name), name)
    await cache.read_all(names)
    systemd.changes.take()
    await systemd.start(names[-1])
    systemd.changes.take()  # lost
    systemd.reads.clear()
    systemd.changes.notify(everything=True)
    async with kept_current(cache):
        await trio.sleep(10)
    assert systemd.reads[0] == names[-1]
    assert set(systemd.reads) == set(names)


class Forking(FakeSystemd):
    """Its main process has its parent's name in the first reads, as between fork and exec."""

    names: tuple[str, ...] = ()
    age_usec = 0

    async def unit(self, name: str) -> Unit:
        command, self.names = self.names[0], self.names[1:] or self.names
        started = int(time.time() * 1e6) - self.age_usec
        unit = await super().unit(name)
        return dataclasses.replace(unit, main_command=command, exec_main_start_usec=started)


@pytest.mark.parametrize(
    ("before", "age_usec", "after"),
    [
        ("systemd", 0, "sleep"),
        ("(sleep)", 0, "sleep"),
        ("systemd-executo", 0, "sleep"),
        ("systemd", 10_000_000, "systemd"),  # a manager that runs as a service
    ],
)
async def test_a_process_that_was_read_before_its_exec_is_read_again(
    tmp_path: Path,
    autojump_clock: trio.testing.MockClock,
    before: str,
    age_usec: int,
    after: str,
) -> None:
    (tmp_path / UNIT).write_text(SLEEPS)
    systemd = Forking(tmp_path)
    systemd.changes.take()
    systemd.names, systemd.age_usec = (before, before, "sleep"), age_usec
    cache = UnitCache(systemd)
    cache.follow(KEY, UNIT)
    async with kept_current(cache):
        assert (await cache.unit(UNIT)).main_command == before
        await trio.sleep(60)
    assert cache.units[UNIT].main_command == after


async def test_a_unit_is_not_read_while_its_job_is_sent(
    systemd: Counting, cache: UnitCache, autojump_clock: trio.testing.MockClock
) -> None:
    async with kept_current(cache):
        cache.job_is_sent(UNIT)
        await systemd.start(UNIT)
        await trio.sleep(SENDING / 2)
        assert cache.units[UNIT].active_state == "inactive"
        await trio.sleep(SENDING)
        assert cache.units[UNIT].active_state == "active"
        cache.job_is_sent(UNIT)
        await systemd.stop(UNIT)
        assert (await cache.unit(UNIT)).active_state == "inactive"
        before = len(systemd.reads)
        await trio.sleep(2 * SENDING)
        assert len(systemd.reads) == before  # the read answered what had been notified
