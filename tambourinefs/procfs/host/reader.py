"""What is read from the host just before a rendering: numbers and names, all kernel memory.

No D-Bus, no systemd, no journald, and nothing that one stuck process could block: /proc/PID/cmdline
takes the process's mmap lock (which a page fault on this mount may hold while it waits for this
server), so a thread reads it, with a timeout.
"""

from __future__ import annotations

import logging
import os
import time
import zoneinfo
from dataclasses import replace
from datetime import UTC, tzinfo
from pathlib import Path
from typing import TYPE_CHECKING, Final

import trio

from tambourinefs.model.unit import Process, Unit
from tambourinefs.procfs.render.figures import Figures, figures_of
from tambourinefs.procfs.render.files import Needs
from tambourinefs.procfs.render.formats import MAX_BYTES, command_line
from tambourinefs.procfs.render.times import Moment

if TYPE_CHECKING:
    from tambourinefs.procfs.host.cgroups import Cgroups

_log = logging.getLogger(__name__)

MAX_PROCESSES: Final = 2048  # of one unit in `status`
_PATIENCE_SECONDS: Final = 0.05
_THREADS: Final = 4
_CHECK_SECONDS: Final = 1.0


class LocalZone:
    """The time zone that `path` (localtime(5)) names now; UTC where it is missing or broken, as in
    glibc.

    The C library reads it once in the life of a process; a daemon outlives `timedatectl
    set-timezone`.
    """

    def __init__(self, path: Path, *, check_seconds: float = _CHECK_SECONDS) -> None:
        self._path = path
        self._check_seconds = check_seconds
        self._stamp: object = None
        self._zone: tzinfo = UTC
        self._checked = float("-inf")

    def zone(self) -> tzinfo:
        now = time.monotonic()
        if now - self._checked >= self._check_seconds:
            self._checked = now
            self._refresh()
        return self._zone

    def _refresh(self) -> None:
        try:
            found = os.stat(self._path)
            stamp = (found.st_dev, found.st_ino, found.st_mtime_ns)
            if stamp == self._stamp:
                return
            with self._path.open("rb") as file:
                self._zone = zoneinfo.ZoneInfo.from_file(file)
            self._stamp = stamp
        except (OSError, ValueError):
            self._zone, self._stamp = UTC, None


class HostReader:
    """Reads the clock, the time zone and the figures of this host."""

    def __init__(self, cgroups: Cgroups, zone: LocalZone, proc: Path = Path("/proc")) -> None:
        self._cgroups = cgroups
        self._zone = zone
        self._proc = str(proc)
        self._threads = trio.CapacityLimiter(_THREADS)
        self._started = self.moment()

    @property
    def reference(self) -> Moment:
        """A fixed moment, for comparing what two views say apart from the time that passes."""
        return Moment(self._started.realtime, self._started.monotonic, self._zone.zone())

    def moment(self) -> Moment:
        """Now."""
        return Moment(time.time_ns() // 1000, time.monotonic_ns() // 1000, self._zone.zone())

    def figures(self, unit: Unit | None, needs: Needs) -> Figures:
        """What `needs` names, without processes; never blocks."""
        if unit is None:
            return Figures()
        figures = figures_of(unit)
        if needs >= Needs.COMMANDS:
            figures = replace(
                figures,
                main_command=self._command(unit.main_pid) or unit.main_command,
                control_command=self._command(unit.control_pid) or unit.control_command,
            )
        if needs >= Needs.NUMBERS and unit.control_group:
            figures = self._numbers(unit, figures)
        return figures

    def _numbers(self, unit: Unit, known: Figures) -> Figures:
        """Current numbers of what systemd accounts for; what it calls "unset" is not shown."""
        group = unit.control_group
        tasks, memory, cpu = known.tasks, known.memory, known.cpu_nsec
        if tasks is not None:
            tasks = _first(self._cgroups.tasks(group), tasks)
        if memory is not None:
            memory = _first(self._cgroups.memory(group), memory)
        if cpu is not None:
            cpu = max(_first(self._cgroups.cpu_nsec(group), cpu), cpu)
        available = known.memory_available
        if available is not None and memory is not None and known.memory is not None:
            # Less what this unit has taken since; systemd's next answer has what other units took.
            available = max(available + known.memory - memory, 0)
        return replace(
            known, tasks=tasks, memory=memory, cpu_nsec=cpu, memory_available=available,
            memory_peak=self._memory(group, "peak", known.memory_peak),
            memory_swap=self._memory(group, "swap.current", known.memory_swap),
            memory_swap_peak=self._memory(group, "swap.peak", known.memory_swap_peak),
            memory_zswap=self._memory(group, "zswap.current", known.memory_zswap),
        )  # fmt: skip

    def _memory(self, group: str, what: str, known: int | None) -> int | None:
        return None if known is None else _first(self._cgroups.memory_figure(group, what), known)

    async def with_processes(self, unit: Unit | None, figures: Figures) -> Figures:
        """The figures with the processes that are in the unit's group now; unchanged if a read
        hangs.
        """
        if unit is None or not unit.control_group:
            return figures
        if self._threads.available_tokens < 1:  # all threads hang in stuck processes
            return figures
        with trio.move_on_after(_PATIENCE_SECONDS):
            found = await trio.to_thread.run_sync(
                self._processes, unit, abandon_on_cancel=True, limiter=self._threads
            )
            return replace(
                figures,
                processes=found[:MAX_PROCESSES],
                processes_left_out=max(len(found) - MAX_PROCESSES, 0),
            )
        _log.warning("reading the processes of %s takes too long", unit.id)
        return figures

    def _processes(self, unit: Unit) -> tuple[Process, ...]:
        known = {process.pid: process.command for process in unit.processes}
        members = list(self._cgroups.members(unit.control_group, 4 * MAX_PROCESSES))
        here = {pid for _, pid in members}
        # The main process may live in another group; systemctl shows it too.
        members += [
            ("", pid) for pid in (unit.main_pid, unit.control_pid) if pid and pid not in here
        ]
        found = []
        for place, (group, pid) in enumerate(members):
            shown = self._command_line(pid) if place < MAX_PROCESSES else ""
            if shown is not None:
                found.append(Process(group, pid, shown or known.get(pid, "n/a")))
        return tuple(found)

    def _command_line(self, pid: int) -> str | None:
        """None: it has ended. "": the sandbox hides it."""
        comm = self._command(pid)
        try:
            with open(f"{self._proc}/{pid}/cmdline", "rb") as file:
                return command_line(file.read(MAX_BYTES), comm)
        except FileNotFoundError:
            return None
        except OSError:
            return ""

    def _command(self, pid: int) -> str:
        """comm of a process, "" where there is none. Takes no lock that the process may hold."""
        if pid <= 0:
            return ""
        try:
            with open(f"{self._proc}/{pid}/comm", "rb") as file:
                return file.read(64).decode(errors="surrogateescape").removesuffix("\n")
        except OSError:
            return ""


def _first(current: int | None, known: int) -> int:
    return known if current is None else current
