"""What the agent looks at and holds: a unit that nobody is about is let go."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import trio

from tambourinefs.agent.units.cache import LEFT, Sight
from tambourinefs.model.unit import Unit
from tests.fakes.agent import SLEEPS
from tests.fakes.systemd import FakeSystemd

pytestmark = pytest.mark.trio
KEY, UNIT = ("local", "a"), "a.service"


class Between(FakeSystemd):
    """One in which something happens between a look and its answer."""

    sight: Sight
    looks = 0

    async def units(self, names: Iterable[str], **options: Any) -> dict[str, Unit]:
        found = await super().units(names, **options)
        self.looks += 1
        self.sight.unfollow(KEY)
        await self.sight.release(UNIT)
        return found


async def test_a_unit_that_is_released_while_it_is_looked_at_is_not_held_again(
    tmp_path: Path,
) -> None:
    (tmp_path / UNIT).write_text(SLEEPS)
    systemd = Between(tmp_path)
    systemd.sight = sight = Sight(systemd, lambda _: None, lambda _: None)
    sight.follow(KEY, UNIT)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sight.listen)
        nursery.start_soon(sight.watch)
        await systemd.start(UNIT)
        await trio.testing.wait_all_tasks_blocked(0.01)
        nursery.cancel_scope.cancel()
    assert systemd.looks >= 1
    assert not systemd._units[UNIT].referenced
    assert UNIT not in sight.units


class Slow(FakeSystemd):
    """One whose answer to the first question is on its way until the test lets it go."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.on_its_way, self.arrives = trio.Event(), trio.Event()

    async def unit(self, name: str) -> Unit:
        found = await super().unit(name)
        if not self.on_its_way.is_set():
            self.on_its_way.set()
            await self.arrives.wait()
        return found


async def test_an_answer_that_was_overtaken_by_a_younger_one_is_dropped(tmp_path: Path) -> None:
    (tmp_path / UNIT).write_text(SLEEPS)
    systemd = Slow(tmp_path)
    sight = Sight(systemd, lambda _: None, lambda _: None)
    sight.follow(KEY, UNIT)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sight.unit, UNIT)
        await systemd.on_its_way.wait()
        await systemd.start(UNIT)
        assert (await sight.unit(UNIT)).active_state == "active"
        systemd.arrives.set()
    assert sight.units[UNIT].active_state == "active"


class Forking(FakeSystemd):
    """One whose main process has its parent's name in the first looks, as between fork and exec."""

    names: tuple[str, ...] = ()

    async def unit(self, name: str) -> Unit:
        command, self.names = self.names[0], self.names[1:] or self.names
        started = int(time.time() * 1e6) - self.age_usec
        unit = await super().unit(name)
        return dataclasses.replace(unit, main_command=command, exec_main_start_usec=started)

    age_usec = 0


@pytest.mark.parametrize("before", ["systemd", "(sleep)", "systemd-executo"])
async def test_a_process_that_was_seen_before_its_exec_is_seen_again_with_its_own_name(
    tmp_path: Path, autojump_clock: trio.testing.MockClock, before: str
) -> None:
    (tmp_path / UNIT).write_text(SLEEPS)
    systemd = Forking(tmp_path)
    systemd.names = (before, before, "sleep")
    sight = Sight(systemd, lambda _: None, lambda _: None)
    sight.follow(KEY, UNIT)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sight.watch_newborn)
        assert (await sight.unit(UNIT)).main_command == before
        await trio.sleep(1)
        nursery.cancel_scope.cancel()
    assert sight.units[UNIT].main_command == "sleep"


async def test_a_manager_that_runs_as_a_service_is_not_looked_at_for_ever(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    (tmp_path / UNIT).write_text(SLEEPS)
    systemd = Forking(tmp_path)
    systemd.names, systemd.age_usec = ("systemd", "sleep"), 10_000_000
    sight = Sight(systemd, lambda _: None, lambda _: None)
    sight.follow(KEY, UNIT)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sight.watch_newborn)
        await sight.unit(UNIT)
        await trio.sleep(60)
        nursery.cancel_scope.cancel()
    assert sight.units[UNIT].main_command == "systemd"


async def _not_again(names: object, **_: object) -> None:
    raise AssertionError(f"asked once more: {names}")


async def test_a_unit_whose_job_is_sent_is_looked_at_when_it_ends_or_a_moment_later(
    tmp_path: Path, autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / UNIT).write_text(SLEEPS)
    systemd = FakeSystemd(tmp_path)
    sight = Sight(systemd, lambda _: None, lambda _: None)
    sight.follow(KEY, UNIT)
    await sight.unit(UNIT)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sight.listen)
        nursery.start_soon(sight.watch)
        sight.leave(UNIT)
        await systemd.start(UNIT)
        await trio.sleep(LEFT / 2)
        assert sight.units[UNIT].active_state == "inactive"
        await trio.sleep(LEFT)
        assert sight.units[UNIT].active_state == "active"
        sight.leave(UNIT)
        await systemd.stop(UNIT)
        await sight.unit(UNIT)
        assert sight.units[UNIT].active_state == "inactive"
        monkeypatch.setattr(systemd, "units", _not_again)  # what had rung was answered
        await trio.sleep(2 * LEFT)
        nursery.cancel_scope.cancel()
