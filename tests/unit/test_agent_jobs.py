"""Running jobs: the end of one is never taken for the end of a newer one that is recorded and not yet sent."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trio

from tambourinefs.agent.notifications import Notifications
from tambourinefs.agent.planning.actions import Job
from tambourinefs.agent.planning.transitions import sending
from tambourinefs.agent.reconcile.jobs import RunningJobs
from tambourinefs.agent.state.applied import AppliedState
from tambourinefs.agent.state.record import Record, Running
from tambourinefs.agent.state.store import Store
from tests.fakes.systemd import FakeSystemd

pytestmark = pytest.mark.trio
KEY, UNIT = ("local", "a"), "a.service"


@pytest.fixture
def applied(tmp_path: Path) -> Iterator[AppliedState]:
    with Store(tmp_path / "state") as store:
        yield AppliedState(store, {KEY: Record(*KEY, UNIT)})


@pytest.fixture
def systemd(tmp_path: Path) -> FakeSystemd:
    (tmp_path / UNIT).write_text("[Service]\nExecStart=/bin/sleep infinity\n")
    return FakeSystemd(tmp_path)


async def record_job(applied: AppliedState, systemd: FakeSystemd, generation: int) -> Job:
    """As a pass does before it waits for the disk."""
    job = Job(KEY, UNIT, "restart", "u", generation, command="start")
    unit = await systemd.unit(UNIT)
    applied.set(sending(applied.records[KEY], job, unit, systemd.boot_id, "now", generation))
    return job


def running(applied: AppliedState) -> Running | None:
    return applied.records[KEY].running


async def until(condition: Callable[[], bool]) -> None:
    with trio.fail_after(5):
        while not condition():
            await trio.lowlevel.checkpoint()


@pytest.mark.parametrize("recovers", [False, True])
async def test_an_older_jobs_end_is_not_the_newer_ones(
    applied: AppliedState, systemd: FakeSystemd, *, recovers: bool
) -> None:
    jobs = RunningJobs(systemd, applied, systemd, Notifications())
    async with trio.open_nursery() as nursery:
        first = await record_job(applied, systemd, 1)
        if recovers:
            await systemd.restart(UNIT)  # a dead agent sent it; its end was not observed
            jobs.recover(KEY, nursery)
        else:
            systemd.hold(UNIT)
            jobs.launch(first, nursery)
            await until(lambda: ("restart", UNIT) in systemd.log)
        second = await record_job(applied, systemd, 2)
        systemd.release(UNIT)
        await until(lambda: KEY not in jobs)
        record = applied.records[KEY]
        assert (running(applied) is not None, record.done) == (True, None), (
            "it was called done before it began"
        )
        jobs.launch(second, nursery)
        await until(lambda: running(applied) is None)
        done = applied.records[KEY].done
        assert done is not None
        assert (done.generation, done.result) == (2, "done")
        assert systemd.log.count(("restart", UNIT)) == 2
