"""What the observer remembers when signals and looks come across each other."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
import trio
import trio.testing

from tambourinefs.agent.units.observe import Observer

if TYPE_CHECKING:
    from tambourinefs.agent.dbus.manager import Manager

pytestmark = pytest.mark.trio
X = "x.service"


class _Manager:
    """One active unit whose PID is `pid` when a question is asked; its answers wait where there is a gate."""

    def __init__(self) -> None:
        self.pid, self.asked = 1, 0
        self.gates: list[trio.Event] = []

    async def call(self, member: str, *_: Any) -> tuple[Any, ...]:
        assert member == "ListUnitsByNames"
        await trio.lowlevel.checkpoint()
        return ([(X, "X", "loaded", "active", "running", "", f"/{X}", 0, "", "/")],)

    async def properties(self, *_: str) -> dict[str, Any]:
        self.asked += 1
        pid, gate = self.pid, self.gates.pop(0) if self.gates else None
        await trio.lowlevel.checkpoint()
        if gate is not None:
            await gate.wait()
        texts = {
            "Id": X,
            "LoadState": "loaded",
            "ActiveState": "active",
            "SubState": "running",
            "Description": "X",
        }
        return {**texts, "MainPID": pid}

    def gate(self) -> trio.Event:
        """The next answer waits for it."""
        self.gates.append(trio.Event())
        return self.gates[-1]


@pytest.fixture
def manager() -> _Manager:
    return _Manager()


@pytest.fixture
def observer(manager: _Manager, tmp_path: Path) -> Observer:
    return Observer(cast("Manager", manager), proc=tmp_path)


async def _pid(observer: Observer) -> int:
    return (await observer.units([X], fresh=False))[X].main_pid


@asynccontextmanager
async def _look_under_way(manager: _Manager, observer: Observer) -> AsyncIterator[None]:
    """A look has asked; its answer comes at the end of the block."""
    gate = manager.gate()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(observer.unit, X)
        await trio.testing.wait_all_tasks_blocked()
        yield
        gate.set()


async def test_what_nothing_rang_for_is_remembered(manager: _Manager, observer: Observer) -> None:
    assert [await _pid(observer) for _ in range(3)] == [1, 1, 1]
    assert manager.asked == 1


async def test_who_asks_while_a_look_is_under_way_does_not_get_the_memory(
    manager: _Manager, observer: Observer
) -> None:
    assert await _pid(observer) == 1
    manager.pid = 2
    observer.stale(X)
    async with _look_under_way(manager, observer):
        assert await _pid(observer) == 2
    assert await _pid(observer) == 2


async def test_a_look_that_was_cancelled_answered_nothing(
    manager: _Manager, observer: Observer
) -> None:
    assert await _pid(observer) == 1
    manager.pid = 2
    observer.stale(X)
    manager.gate()
    with trio.move_on_after(0):
        await observer.unit(X)
    assert await _pid(observer) == 2


async def test_a_signal_during_a_look_is_answered_by_the_next(
    manager: _Manager, observer: Observer
) -> None:
    assert await _pid(observer) == 1
    observer.stale(X)
    async with _look_under_way(manager, observer):
        manager.pid = 2
        observer.stale(X)
    assert await _pid(observer) == 2


async def test_an_older_answer_that_comes_later_is_not_remembered(
    manager: _Manager, observer: Observer
) -> None:
    async with _look_under_way(manager, observer):
        manager.pid = 2
        observer.stale(X)
        assert await _pid(observer) == 2
    assert await _pid(observer) == 2
