"""Jobs on a real systemd: every way to end is reported as it is, however long it takes and whoever asked."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from tambourinefs.agent.ports import JobRefused, JobResult, UnitNotFound
from tambourinefs.model.unit import Unit
from tests.e2e.systemd_world import HostWorld, systemd_of, world_of
from tests.lab.hosts import Host
from tests.waiting import PATIENCE

pytestmark = pytest.mark.trio

# Starts when the file appears, then ends as `then` says.
WAITS = (
    "[Service]\nType=oneshot\nTimeoutStartSec=infinity\n"
    "ExecStart=/bin/sh -c 'until test -e {go}; do sleep 0.05; done{then}'\n"
)


def starting(unit: Unit) -> bool:
    return unit.active_state == "activating"


@asynccontextmanager
async def under_way(world: HostWorld, name: str) -> AsyncIterator[list[JobResult]]:
    """A start that has begun and not ended; its result, once the block has let it end."""
    results: list[JobResult] = []

    async def start() -> None:
        results.append(await world.systemd.start(name))

    with trio.fail_after(PATIENCE * 3):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(start)
            await world.wait(name, starting)
            yield results


async def test_a_start_that_runs_into_its_own_timeout(bare_host: Host) -> None:
    async with world_of(bare_host) as world:
        text = "[Service]\nType=oneshot\nTimeoutStartSec=500ms\nExecStart=/bin/sleep 1000\n"
        await world.write("j-late.service", text)
        assert (await world.systemd.start("j-late.service")).result == "failed"
        unit = await world.systemd.unit("j-late.service")
        assert (unit.active_state, unit.result) == ("failed", "timeout")


async def test_a_job_that_runs_into_the_jobs_timeout(bare_host: Host) -> None:
    async with world_of(bare_host) as world:
        text = "[Unit]\nJobTimeoutSec=500ms\n" + WAITS.format(go="/run/never", then="")
        await world.write("j-jobtime.service", text)
        assert (await world.systemd.start("j-jobtime.service")).result == "timeout"


async def test_a_start_that_a_stop_cancels(bare_host: Host) -> None:
    async with world_of(bare_host) as world:
        await world.write("j-cancel.service", WAITS.format(go="/run/never", then=""))
        async with under_way(world, "j-cancel.service") as results:
            assert (await world.systemd.stop("j-cancel.service")).result == "done"
        assert [r.result for r in results] == ["canceled"]


async def test_an_assertion_that_does_not_hold(bare_host: Host) -> None:
    async with world_of(bare_host) as world:
        text = "[Unit]\nAssertPathExists=/nonexistent\n[Service]\nExecStart=/bin/true\n"
        await world.write("j-assert.service", text)
        assert (await world.systemd.start("j-assert.service")).result == "assert"


async def test_a_manual_start_that_the_unit_refuses(bare_host: Host) -> None:
    async with world_of(bare_host) as world:
        text = "[Unit]\nRefuseManualStart=yes\n[Service]\nExecStart=/bin/true\n"
        await world.write("j-manual.service", text)
        with pytest.raises(JobRefused, match=r"j-manual\.service"):
            await world.systemd.start("j-manual.service")


async def test_a_requirement_that_does_not_exist(bare_host: Host) -> None:
    async with world_of(bare_host) as world:
        text = "[Unit]\nRequires=j-nothere.service\n[Service]\nExecStart=/bin/true\n"
        await world.write("j-requires.service", text)
        with pytest.raises(UnitNotFound, match=r"j-nothere\.service not found"):
            await world.systemd.start("j-requires.service")


async def test_another_agent_waits_for_a_job_under_way(bare_host: Host) -> None:
    async with world_of(bare_host) as world, systemd_of(bare_host) as second:
        await world.write("j-shared.service", WAITS.format(go="/run/j-shared", then=""))
        waited: list[JobResult | None] = []

        async def wait() -> None:
            waited.append(await second.wait_job("j-shared.service"))

        async with under_way(world, "j-shared.service") as started:
            unit = await second.unit("j-shared.service")
            assert unit.job[0] > 0
            assert unit.job[1] == "start"
            async with trio.open_nursery() as nursery:
                nursery.start_soon(wait)
                await trio.testing.wait_all_tasks_blocked()
                await world.run("touch", "/run/j-shared")
        assert [r.result for r in started] == ["done"]
        assert [r.result for r in waited if r is not None] == ["done"]
        assert waited[0] is not None


async def test_two_restarts_at_once_and_a_third_behind(bare_host: Host) -> None:
    async with world_of(bare_host) as world:
        text = (
            "[Service]\nExecStartPre=/bin/sh -c 'echo >> /run/j-count'\nExecStart=/bin/sleep 1000\n"
        )
        await world.write("j-restarts.service", text)
        results: list[JobResult] = []

        async def restart() -> None:
            results.append(await world.systemd.restart("j-restarts.service"))

        with trio.fail_after(PATIENCE):
            async with trio.open_nursery() as nursery:
                for _ in range(3):
                    nursery.start_soon(restart)
        assert [r.result for r in results] == ["done"] * 3
        unit = await world.systemd.unit("j-restarts.service")
        assert unit.active_state == "active"
        assert results[-1].invocation_id == unit.invocation_id
        runs = len((await world.run("cat", "/run/j-count")).splitlines())
        assert 1 <= runs <= 3  # systemd merges what has not begun


async def test_whoever_stops_waiting_leaves_the_job_alone(bare_host: Host) -> None:
    async with world_of(bare_host) as world:
        await world.write("j-left.service", WAITS.format(go="/run/j-left", then=""))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.systemd.start, "j-left.service")
            await world.wait("j-left.service", starting)
            nursery.cancel_scope.cancel()
        assert starting(await world.systemd.unit("j-left.service"))
        await world.run("touch", "/run/j-left")
        await world.wait("j-left.service", lambda u: u.active_state == "inactive")
