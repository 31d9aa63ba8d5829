"""Many units and many signals: nothing is lost, and the number of questions to PID 1 stays small."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from tambourinefs.agent.dbus.messages import Received
from tambourinefs.agent.ports import Changes
from tambourinefs.agent.units.cache import UnitCache
from tests.e2e.systemd_world import HostWorld, world_of
from tests.fakes.systemd_rules import SLEEPS
from tests.lab.hosts import Host
from tests.waiting import PATIENCE

pytestmark = pytest.mark.trio

MANY = 1000
QUIET = 0.5  # seconds without a notification that count as quiet


@asynccontextmanager
async def many_units(world: HostWorld, count: int) -> AsyncIterator[list[str]]:
    """Enabled units, not started."""
    names = [f"n-{number}.service" for number in range(count)]
    for name in names:
        head = f"[Unit]\nDescription={name}\nStartLimitIntervalSec=0\n"
        await world.write(name, head + SLEEPS)
    await world.systemd.enable(names)  # their target keeps them in memory
    await world.systemd.reload()
    try:
        yield names
    finally:
        with trio.CancelScope(shield=True):
            await world.run("systemctl", "stop", "n-*.service", check=False)
            await world.run("systemctl", "disable", *names, check=False)


async def quiet(world: HostWorld) -> list[Changes]:
    """Take notifications until there are none; the test's own deadline bounds it."""
    taken: list[Changes] = []
    while True:
        with trio.move_on_after(QUIET) as scope:
            taken.append(await world.systemd.changes.wait())
        if scope.cancelled_caught:
            return taken


async def settle(cache: UnitCache) -> None:
    """Read what is to be read until nothing changes any more."""
    while True:
        with trio.move_on_after(QUIET) as scope:
            await cache.wait()
        if scope.cancelled_caught:
            return
        await cache.read_next(frozenset(), busy=False)


def cache_of(world: HostWorld, names: list[str]) -> UnitCache:
    cache = UnitCache(world.systemd)
    for name in names:
        cache.follow(("local", name), name)
    world.systemd.changes.notify(names)
    return cache


async def test_a_thousand_units_cost_a_bounded_number_of_calls(bare_host: Host) -> None:
    async with world_of(bare_host) as world:
        with trio.fail_after(PATIENCE * 6):
            async with many_units(world, MANY) as names:
                await world.run("systemctl", "start", *names[:5])
                await quiet(world)
                calls = world.systemd.calls

                units = await world.systemd.units(names)
                assert len(units) == MANY
                assert all(u.load_state == "loaded" for u in units.values())
                first = world.systemd.calls - calls
                assert first <= MANY + 5, first

                await quiet(world)  # systemd is still announcing what its reload did
                cache = cache_of(world, names)
                await cache.read_all(names)
                await settle(cache)
                calls = world.systemd.calls
                await settle(cache)
                assert world.systemd.calls == calls
                await cache.refresh(names)
                assert world.systemd.calls - calls == 1

                await world.run("systemctl", "start", *names[5:10])
                calls = world.systemd.calls
                await settle(cache)
                assert [n for n in names if cache.units[n].active_state == "active"] == names[:10]
                assert world.systemd.calls - calls <= 8 * 10

                calls = world.systemd.calls
                states = await world.systemd.states(names)
                assert [n for n in names if states[n].active_state == "active"] == names[:10]
                assert world.systemd.calls - calls == 1


async def test_references_stay_below_what_systemds_connection_bears(bare_host: Host) -> None:
    """At 512 dbus-daemon refuses, and systemd leaves the bus until it is called back."""
    async with world_of(bare_host) as world:
        # Targets: nothing is started for them but the job, and that is what is held.
        names = [f"m-{number}.target" for number in range(600)]
        for name in names:
            await world.write(name, "[Unit]\nDescription=Held\n")
        with trio.fail_after(PATIENCE * 3):
            for name in names:
                await world.systemd.ref(name)
            async with trio.open_nursery() as nursery:
                for name in names:
                    nursery.start_soon(world.systemd.start, name)
            assert world.systemd.connected
            await world.run("busctl", "--system", "status", "org.freedesktop.systemd1")
            await world.run("systemctl", "stop", "m-*.target")


async def test_a_storm_loses_nothing(bare_host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    async with world_of(bare_host) as world:
        received: list[Received] = []
        real = world.systemd.on_signal

        def count(signal: Received) -> None:
            received.append(signal)
            real(signal)

        monkeypatch.setattr(world.systemd, "on_signal", count)
        with trio.fail_after(PATIENCE * 6):
            async with many_units(world, 100) as names:
                cache = cache_of(world, names)
                await settle(cache)
                received.clear()
                storm = "for i in $(seq 4); do systemctl restart --no-block 'n-*.service'; systemctl restart \"$@\"; done"
                await world.run("sh", "-c", storm, "storm", *names)
                await world.run("systemctl", "stop", *names[::2])
                # Nothing was read meanwhile. A last change, after which all signals before it have been received:
                await world.run("systemctl", "start", "n-0.service")
                while (await world.systemd.states(["n-0.service"]))[
                    "n-0.service"
                ].active_state != "active":
                    await trio.lowlevel.checkpoint()
                await settle(cache)
                units = cache.units
                assert len(received) >= 2500, len(received)
                running = {"n-0.service", *names[1::2]}
                assert {n for n in names if units[n].active_state == "active"} == running
                shown = await world.run("systemctl", "show", "--property=Id,MainPID", *names)
                for block in shown.strip().split("\n\n"):
                    said = dict(line.split("=", 1) for line in block.splitlines())
                    assert units[said["Id"]].main_pid == int(said["MainPID"])


async def test_reads_do_not_cause_further_reads(bare_host: Host) -> None:
    """To read a unit that is not in memory loads and unloads it, which systemd announces."""
    async with world_of(bare_host) as world:
        names = [f"q-{number}.service" for number in range(20)]
        for name in names[::2]:
            await world.write(name, "[Service]\nExecStart=/bin/sleep 1000\n")
        cache = cache_of(world, names)
        with trio.fail_after(PATIENCE):
            await settle(cache)
        calls = world.systemd.calls
        await settle(cache)
        assert world.systemd.calls == calls
        assert {cache.units[name].load_state for name in names} == {"loaded", "not-found"}
