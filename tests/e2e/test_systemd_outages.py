"""The bus restarts, systemd re-executes, PID 1 freezes: no result and no change is lost."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Awaitable, Callable

import pytest
import trio

from tambourinefs.agent.ports import SystemdUnavailable
from tests.e2e.systemd_world import HostWorld, world_of
from tests.e2e.test_systemd_jobs import WAITS, under_way
from tests.fakes.systemd_rules import SLEEPS
from tests.lab.hosts import Host
from tests.waiting import PATIENCE

pytestmark = pytest.mark.trio

LOST = "trying again$|is not on the system bus|no reply within|recipient disconnected"


@pytest.fixture(autouse=True)
def _outages_are_announced(announce: Callable[[str], None]) -> None:
    announce(LOST)


async def lost(world: HostWorld) -> None:
    """Wait until the outage is noticed: the proof that it happened."""
    with trio.fail_after(PATIENCE):
        while world.systemd.connected:
            await world.systemd.changes.wait()


async def found(world: HostWorld) -> None:
    with trio.fail_after(PATIENCE):
        await world.systemd.wait_connected()


async def bus_down(world: HostWorld) -> None:
    await world.run("systemctl", "stop", "dbus.socket", "dbus.service")
    await lost(world)


async def bus_up(world: HostWorld) -> None:
    await world.run("systemctl", "start", "dbus.socket", "dbus.service")
    await found(world)


async def bus_restarts(world: HostWorld) -> None:
    await bus_down(world)
    await bus_up(world)


async def systemd_reexecutes(world: HostWorld) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.run, "systemctl", "daemon-reexec")
        await lost(world)
    await found(world)


OUTAGES = [bus_restarts, systemd_reexecutes]
Outage = Callable[[HostWorld], Awaitable[None]]


@pytest.mark.parametrize("outage", OUTAGES)
async def test_a_job_that_outlives_the_outage_is_reported(outage: Outage, bare_host: Host) -> None:
    async with world_of(bare_host) as world:
        await world.write("o-long.service", WAITS.format(go="/run/o-long", then=""))
        await world.run("rm", "-f", "/run/o-long")
        async with under_way(world, "o-long.service") as results:
            await outage(world)
            assert results == []
            await world.run("touch", "/run/o-long")
        assert [r.result for r in results] == ["done"]


@pytest.mark.parametrize(("then", "result"), [("", "done"), ("; exit 3", "failed")])
async def test_a_job_that_ends_while_the_bus_is_away(
    then: str, result: str, bare_host: Host
) -> None:
    async with world_of(bare_host) as world:
        text = WAITS.format(go="/run/o-unseen", then=then) + "RemainAfterExit=yes\n"
        await world.write("o-unseen.service", text)
        await world.run("rm", "-f", "/run/o-unseen")
        async with under_way(world, "o-unseen.service") as results:
            await bus_down(world)
            await world.run("touch", "/run/o-unseen")
            ended = "while systemctl is-active o-unseen.service | grep -q activating; do sleep 0.05; done"
            await world.run("sh", "-c", ended)
            assert results == []
            await bus_up(world)
        assert [r.result for r in results] == [result]


@pytest.mark.parametrize("outage", OUTAGES)
async def test_a_change_during_an_outage_is_read_after_it(outage: Outage, bare_host: Host) -> None:
    async with world_of(bare_host) as world:
        await world.write("o-dark.service", SLEEPS)
        await world.systemd.start("o-dark.service")
        await world.wait("o-dark.service", lambda u: u.active_state == "active")
        await outage(world)
        assert (await world.systemd.changes.wait()).everything
        await world.kill("o-dark.service")
        await world.wait("o-dark.service", lambda u: u.active_state == "failed")


async def test_signals_flow_again_after_each_of_five_reexecutions(bare_host: Host) -> None:
    async with world_of(bare_host) as world:
        await world.write("o-five.service", SLEEPS)
        for _ in range(5):
            await systemd_reexecutes(world)
            await world.run("systemctl", "start", "o-five.service")
            await world.wait("o-five.service", lambda u: u.active_state == "active")
            await world.run("systemctl", "stop", "o-five.service")
            await world.wait("o-five.service", lambda u: u.active_state == "inactive")


async def test_a_referenced_oneshot_keeps_its_result_over_a_reexecution(bare_host: Host) -> None:
    async with world_of(bare_host) as world:
        await world.write("o-kept.service", "[Service]\nType=oneshot\nExecStart=/bin/true\n")
        await world.systemd.ref("o-kept.service")
        await world.systemd.start("o-kept.service")
        before = await world.systemd.unit("o-kept.service")
        await systemd_reexecutes(world)
        unit = await world.systemd.unit("o-kept.service")
        assert unit.invocation_id == before.invocation_id != ""
        await world.systemd.unref("o-kept.service")
        await world.wait(
            "o-kept.service", lambda u: not u.invocation_id
        )  # all references are released


async def test_calls_fail_at_once_while_the_bus_is_away(bare_host: Host) -> None:
    async with world_of(bare_host) as world:
        await bus_down(world)
        with pytest.raises(SystemdUnavailable) as caught:
            await world.systemd.start("o-any.service")
        assert not caught.value.may_have_happened
        await bus_up(world)


async def test_a_frozen_pid_1_is_noticed_and_said(bare_host: Host) -> None:
    async with world_of(bare_host, reply_timeout=1.0) as world:
        pid = bare_host.leader
        os.kill(pid, signal.SIGSTOP)
        try:
            began = time.monotonic()
            with pytest.raises(SystemdUnavailable, match="no reply within 1 s") as caught:
                await world.systemd.unit("dbus.service")
            assert time.monotonic() - began < PATIENCE
            assert caught.value.may_have_happened
            await lost(world)
        finally:
            os.kill(pid, signal.SIGCONT)
        await found(world)
        assert (await world.systemd.unit("dbus.service")).active_state == "active"
