"""Whose turn it is: nobody is woken for nothing, and nobody is forgotten."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress

import pyfuse3
import pytest
import trio
import trio.testing

from tambourinefs.fuse.turn import Turn, taking_turns


@asynccontextmanager
async def turn_in_use() -> AsyncIterator[Turn]:
    turn = Turn()
    trio.lowlevel.add_instrument(turn)
    try:
        yield turn
    finally:
        trio.lowlevel.remove_instrument(turn)


@pytest.mark.trio
async def test_who_waits_for_nothing_else_takes_it_again() -> None:
    took: list[str] = []

    async def worker(turn: Turn, name: str, requests: int) -> None:
        for _ in range(requests):
            async with turn:
                await trio.testing.wait_all_tasks_blocked()  # for a request
            took.append(name)  # answered

    async with turn_in_use() as turn, trio.open_nursery() as nursery:
        for name in "ab":
            nursery.start_soon(worker, turn, name, 5)
    assert took in ([*"aaaaabbbbb"], [*"bbbbbaaaaa"])


@pytest.mark.trio
async def test_who_waits_for_something_else_leaves_it_to_the_next() -> None:
    answered, answer = [], trio.Event()

    async def slow(turn: Turn) -> None:
        async with turn:
            await trio.testing.wait_all_tasks_blocked()
        await answer.wait()
        answered.append("slow")

    async def quick(turn: Turn) -> None:
        async with turn:
            await trio.testing.wait_all_tasks_blocked()
        answered.append("quick")
        answer.set()

    async with turn_in_use() as turn, trio.open_nursery() as nursery:
        nursery.start_soon(slow, turn)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(quick, turn)
    assert answered == ["quick", "slow"]


@pytest.mark.trio
async def test_one_has_it_at_a_time_also_when_others_are_cancelled_or_fail() -> None:
    inside, most, rounds = 0, 0, 0

    def fail() -> None:
        raise trio.BusyResourceError

    async def worker(turn: Turn) -> None:
        nonlocal inside, most, rounds
        for _ in range(20):
            with trio.move_on_after(0):
                async with turn:
                    await trio.lowlevel.checkpoint()
            with suppress(trio.BusyResourceError):
                async with turn:
                    inside += 1
                    most = max(most, inside)
                    await trio.lowlevel.checkpoint()
                    inside -= 1
                    rounds += 1
                    fail()

    async with turn_in_use() as turn, trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(worker, turn)
    assert (inside, most, rounds) == (0, 1, 200)


@pytest.mark.trio
async def test_pyfuse3_has_its_trio_back_afterwards() -> None:
    with taking_turns():
        given = vars(pyfuse3)["trio"]
        assert isinstance(given.Lock(), Turn)
        assert given.lowlevel.wait_readable.__func__ is Turn.wait_readable
        assert given.lowlevel.current_task is trio.lowlevel.current_task
    assert vars(pyfuse3)["trio"] is trio


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    try:
        yield ends
    finally:
        for fd in ends:
            os.close(fd)


async def count_turns_of_the_loop(stop: trio.CancelScope) -> int:
    turns = 0
    with stop:
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1
    return turns


@pytest.mark.trio
async def test_what_has_come_is_taken_without_a_turn_of_the_loop(pipe: tuple[int, int]) -> None:
    """… and yet the loop has its turn again and again, however much comes."""
    os.write(pipe[1], b"x")
    others = trio.CancelScope()
    turns: list[int] = []

    async def count() -> None:
        turns.append(await count_turns_of_the_loop(others))

    async with turn_in_use() as turn, trio.open_nursery() as nursery:
        nursery.start_soon(count)
        for _ in range(1000):
            async with turn:
                await turn.wait_readable(pipe[0])
        others.cancel()
    assert 20 < turns[0] < 200


@pytest.mark.trio
async def test_a_wait_ends_when_it_is_cancelled(pipe: tuple[int, int]) -> None:
    """Where nothing comes, and where something comes all the time."""
    for data in (b"", b"x"):
        os.write(pipe[1], data)
        async with turn_in_use() as turn:
            with trio.move_on_after(0.01) as scope:
                while True:
                    async with turn:
                        await turn.wait_readable(pipe[0])
            assert scope.cancelled_caught


@pytest.mark.trio
async def test_who_waits_for_a_thread_is_not_held_up_by_who_waits_for_a_request(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tambourinefs.fuse.turn._PATIENCE", 5)
    answered = trio.Event()

    async def slow(turn: Turn) -> None:
        async with turn:
            await trio.testing.wait_all_tasks_blocked()  # for a request
        await trio.to_thread.run_sync(os.getpid)
        answered.set()

    async def quick(turn: Turn) -> None:
        async with turn:
            await turn.wait_readable(pipe[0])

    async with turn_in_use() as turn, trio.open_nursery() as nursery:
        nursery.start_soon(slow, turn)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(quick, turn)
        with trio.fail_after(2):
            await answered.wait()
        nursery.cancel_scope.cancel()
