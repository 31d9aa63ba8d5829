"""Jobs in flight: the end of one is never taken for the end of a newer one that is recorded and not yet sent."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trio

from tambourinefs.agent.planning.plan import Job
from tambourinefs.agent.planning.transitions import sending
from tambourinefs.agent.reconcile.jobs import Flights
from tambourinefs.agent.state.applied import Book
from tambourinefs.agent.state.record import Record, Running
from tambourinefs.agent.state.store import Store
from tests.fakes.systemd import FakeSystemd

pytestmark = pytest.mark.trio
KEY, UNIT = ("local", "a"), "a.service"


@pytest.fixture
def book(tmp_path: Path) -> Iterator[Book]:
    with Store(tmp_path / "state") as store:
        yield Book(store, {KEY: Record(*KEY, UNIT)})


@pytest.fixture
def systemd(tmp_path: Path) -> FakeSystemd:
    (tmp_path / UNIT).write_text("[Service]\nExecStart=/bin/sleep infinity\n")
    return FakeSystemd(tmp_path)


async def record_job(book: Book, systemd: FakeSystemd, generation: int) -> Job:
    """As a pass does before it waits for the disk."""
    job = Job(KEY, UNIT, "restart", "u", generation, command="start")
    unit = await systemd.unit(UNIT)
    book.set(sending(book.records[KEY], job, unit, systemd.boot_id, "now", generation))
    return job


def running(book: Book) -> Running | None:
    return book.records[KEY].running


async def until(condition: Callable[[], bool]) -> None:
    with trio.fail_after(5):
        while not condition():
            await trio.lowlevel.checkpoint()


@pytest.mark.parametrize("recovers", [False, True])
async def test_an_older_jobs_end_is_not_the_newer_ones(
    book: Book, systemd: FakeSystemd, *, recovers: bool
) -> None:
    flights = Flights(systemd, book, systemd.unit, lambda key: None)
    async with trio.open_nursery() as nursery:
        first = await record_job(book, systemd, 1)
        if recovers:
            await systemd.restart(UNIT)  # a dead agent sent it; nobody saw how it ended
            flights.recover(KEY, nursery)
        else:
            systemd.hold(UNIT)
            flights.launch(first, nursery)
            await until(lambda: ("restart", UNIT) in systemd.log)
        second = await record_job(book, systemd, 2)
        systemd.release(UNIT)
        await until(lambda: KEY not in flights)
        record = book.records[KEY]
        assert (running(book) is not None, record.done) == (True, None), (
            "it was called done before it began"
        )
        flights.launch(second, nursery)
        await until(lambda: running(book) is None)
        done = book.records[KEY].done
        assert done is not None
        assert (done.generation, done.result) == (2, "done")
        assert systemd.log.count(("restart", UNIT)) == 2
