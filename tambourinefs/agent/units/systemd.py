"""PID 1 as reconcile sees it: ports.Systemd over D-Bus. It joins connection, jobs, reader and
notifications; it decides nothing and remembers no unit.

Only the system bus is used. systemd's private socket (/run/systemd/private) would outlive a restart
of dbus, but it is no stable interface, knows no RefUnit, and each behaviour would have to be proven
twice; an outage of the bus lasts seconds and nothing that runs is touched by it.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import trio

from tambourinefs.agent.dbus import connection as dbus
from tambourinefs.agent.dbus.manager import MANAGER, MANAGER_PATH, RELOAD_TIMEOUT, Manager
from tambourinefs.agent.ports import (
    InstallChanges,
    JobResult,
    NotPermitted,
    SystemdRefused,
    SystemdUnavailable,
    UnitNotFound,
    UnitState,
)
from tambourinefs.agent.units.changes import UnitChanges
from tambourinefs.agent.units.directories import watch_unit_directories
from tambourinefs.agent.units.fetcher import UnitFetcher
from tambourinefs.agent.units.jobs import Jobs
from tambourinefs.agent.units.properties import from_path

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tambourinefs.agent.dbus.messages import Received
    from tambourinefs.model.unit import Unit

log: Final = logging.getLogger(__name__)

ENABLE_TIMEOUT: Final = 120.0  # seconds; 1,000 units in one call took 4.8 s
REFERENCES_MAX: Final = (
    160  # kept; beside them each job of another unit holds one, at most jobs.JOBS_MAX
)
UNREF_TRIES: Final = 8  # references pile up over re-executions of systemd


class HostSystemd:
    """The systemd behind a system bus. Calls raise SystemdUnavailable unless the task `run` is
    running and the bus answers.

    `root` is where that systemd's file system is seen from here ("/" but for tests); `boot_id` its boot, "" to read it.
    """

    def __init__(
        self,
        *,
        address: str | None = None,
        root: Path = Path("/"),
        boot_id: str = "",
        reply_timeout: float = dbus.REPLY_TIMEOUT,
    ) -> None:
        self._changes = UnitChanges()
        self._root = root
        self._manager = Manager(
            self, address=address or dbus.system_bus_address(), reply_timeout=reply_timeout
        )
        self._fetcher = UnitFetcher(self._manager, proc=root / "proc")
        self._references: set[str] = set()  # wanted
        self._held: set[str] = set()  # of those, taken on this connection
        self._jobs = Jobs(self._manager, self._held)
        self._connected = trio.Event()
        self._boot_id = boot_id or (
            (root / "proc/sys/kernel/random/boot_id").read_text().strip().replace("-", "")
        )

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Stay connected, for ever. Started at once: the first connection is not waited for."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._manager.run)
            nursery.start_soon(self._watch_files)
            task_status.started()

    @property
    def connected(self) -> bool:
        return self._connected.is_set()

    @property
    def boot_id(self) -> str:
        return self._boot_id

    @property
    def changes(self) -> UnitChanges:
        return self._changes

    @property
    def calls(self) -> int:
        """Requests sent to systemd so far."""
        return self._manager.calls

    async def wait_connected(self) -> None:
        while not self._connected.is_set():
            await self._connected.wait()

    # -- manager.Listener

    def on_signal(self, signal: Received) -> None:
        """Turn a signal into a notification. Bounded work, no waiting."""
        header = signal.header
        if header.member == "PropertiesChanged":  # its path says all: the body is not even read
            if unit := from_path(header.path or ""):
                self._changes.notify([unit])
            return
        match header.member, signal.body:
            case "JobRemoved", (_, str(path), str(name), str(result), *_):
                self._jobs.removed(path, result)
                self._changes.notify([name])
            case "JobNew", (_, _, str(name), *_):
                self._changes.notify([name])
            case (("UnitNew" | "UnitRemoved"), (str(name), *_)):
                self._changes.notify(loaded=[name])
            # Not UnitFilesChanged: the watched directories say which unit it is, and each enable of
            # the agent's own would cause every unit to be read again.
            case "Reloading", (False, *_):
                self._changes.notify(everything=True)

    async def on_connected(self) -> None:
        self._changes.notify(everything=True)
        for name in sorted(self._references):
            await self._add_reference(name)
        await self._jobs.check_all()
        self._connected.set()
        self._changes.notify(everything=True)
        log.info("connected to systemd")

    def on_disconnected(self) -> None:
        self._connected = trio.Event()
        self._held.clear()
        self._changes.notify(everything=True)

    def _file_changed(self, unit: str | None) -> None:
        self._changes.notify([] if unit is None else [unit], everything=unit is None)

    async def _watch_files(self) -> None:
        await self.wait_connected()
        while True:
            try:
                search = await self._manager.property(MANAGER_PATH, MANAGER, "UnitPath")
            except SystemdUnavailable:
                await self.wait_connected()
            else:
                break
        directories = [self._root / path.lstrip("/") for path in search]
        await watch_unit_directories(directories, self._file_changed)

    # -- reading

    async def unit(self, name: str) -> Unit:
        return await self._fetcher.unit(name)

    async def units(self, names: Iterable[str]) -> dict[str, Unit]:
        return await self._fetcher.units(names)

    async def states(self, names: Iterable[str]) -> dict[str, UnitState]:
        return await self._fetcher.states(names)

    async def unit_file_state(self, name: str) -> str:
        return await self._fetcher.unit_file_state(name)

    # -- files

    async def reload(self) -> None:
        await self._manager.call("Reload", within=RELOAD_TIMEOUT)

    async def enable(self, names: Sequence[str], *, force: bool = False) -> InstallChanges:
        _, changes = await self._manager.call(
            "EnableUnitFiles", "asbb", list(names), False, force, within=ENABLE_TIMEOUT
        )
        return InstallChanges(tuple(changes))

    async def disable(self, names: Sequence[str]) -> InstallChanges:
        try:
            (changes,) = await self._manager.call(
                "DisableUnitFiles", "asb", list(names), False, within=ENABLE_TIMEOUT
            )
        except UnitNotFound:  # one that has no file fails all
            if len(names) == 1:
                return InstallChanges()
            singly = [await self.disable([name]) for name in names]
            changes = [change for one in singly for change in one.changes]
        return InstallChanges(changes=tuple(changes))

    # -- jobs

    async def start(self, name: str) -> JobResult:
        return await self._jobs.run(name, "start")

    async def stop(self, name: str) -> JobResult:
        return await self._jobs.run(name, "stop")

    async def restart(self, name: str) -> JobResult:
        return await self._jobs.run(name, "restart")

    async def reload_unit(self, name: str) -> JobResult:
        return await self._jobs.run(name, "reload")

    async def wait_job(self, name: str) -> JobResult | None:
        return await self._jobs.wait(name)

    async def reset_failed(self, name: str) -> None:
        with suppress(UnitNotFound):
            await self._manager.call("ResetFailedUnit", "s", name)

    async def ref(self, name: str) -> None:
        self._references.add(name)
        if name not in self._held:
            await self._add_reference(name)

    async def _add_reference(self, name: str) -> None:
        if len(self._held) >= REFERENCES_MAX:
            log.info("%s is not referenced: %d units are", name, REFERENCES_MAX)
            return
        self._held.add(name)  # before the call: others must not pass the limit meanwhile
        try:
            await self._manager.call("RefUnit", "s", name)
        except (UnitNotFound, SystemdRefused, NotPermitted):
            self._held.discard(name)
        except SystemdUnavailable as error:
            if not error.may_have_happened:
                self._held.discard(name)
            raise

    async def unref(self, name: str) -> None:
        if name not in self._references:
            return
        self._references.discard(name)
        self._held.discard(name)
        with suppress(SystemdUnavailable, UnitNotFound, SystemdRefused, NotPermitted):
            for _ in range(UNREF_TRIES):  # until systemd answers that none is held
                await self._manager.call("UnrefUnit", "s", name)
