"""A lab host as the World of fakes/systemd_rules.py: its systemd over its own system bus, spoken to from outside."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from tambourinefs.agent.units.systemd import HostSystemd
from tests.fakes.systemd_rules import World
from tests.lab.hosts import Host
from tests.waiting import PATIENCE

UNITS = "etc/systemd/system"


class HostWorld(World):
    """`systemd` is running while the world is."""

    systemd: HostSystemd

    def __init__(self, host: Host, systemd: HostSystemd) -> None:
        self.host = host
        self.systemd = systemd
        self._written: set[str] = set()

    def path(self, name: str) -> Path:
        return self.host.root / UNITS / name

    async def write(self, name: str, text: str) -> None:
        self._written.add(name)
        path = self.path(name)
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)

    async def mask(self, name: str) -> None:
        self._written.add(name)
        self.path(name).symlink_to("/dev/null")

    async def remove(self, name: str) -> None:
        self.path(name).unlink()

    async def kill(self, name: str) -> None:
        await self.run("systemctl", "kill", "--signal=KILL", name)

    async def run(self, *argv: str, check: bool = True) -> str:
        """A command inside; what it printed."""
        done = await trio.to_thread.run_sync(lambda: self.host.run(*argv, check=check))
        return done.stdout

    def clear(self) -> None:
        """As it was before."""
        for name in sorted(self._written):
            self.path(name).unlink(missing_ok=True)
        for directory in {self.path(name).parent for name in self._written if "/" in name}:
            directory.rmdir()
        units = [n for n in self._written if "/" not in n and "@." not in n]
        if units:
            self.host.run("systemctl", "stop", "--no-block", *units, check=False)
            self.host.run("systemctl", "daemon-reload")
            self.host.run("systemctl", "reset-failed", *units, check=False)


def bus_of(host: Host) -> str:
    """D-Bus address of the host's system bus, from outside."""
    return f"unix:path={host.root}/run/dbus/system_bus_socket"


@asynccontextmanager
async def systemd_of(host: Host, *, reply_timeout: float = 20.0) -> AsyncIterator[HostSystemd]:
    """The host's systemd, connected."""
    systemd = HostSystemd(address=bus_of(host), root=host.root, reply_timeout=reply_timeout)
    async with trio.open_nursery() as nursery:
        await nursery.start(systemd.run)
        with trio.fail_after(PATIENCE):
            await systemd.wait_connected()
        yield systemd
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def world_of(host: Host, *, reply_timeout: float = 20.0) -> AsyncIterator[HostWorld]:
    """The host's systemd and a person on it; what they wrote is removed after."""
    async with systemd_of(host, reply_timeout=reply_timeout) as systemd:
        world = HostWorld(host, systemd)
        try:
            yield world
        finally:
            with trio.CancelScope(shield=True, deadline=math.inf):
                await trio.to_thread.run_sync(world.clear)
