"""Waiting for systemd's jobs: none is missed, none is waited for twice, and none has a time limit
besides systemd's own.

A job is named by its object path. The result comes with the JobRemoved signal, which may arrive
before the reply that names the path: while any request is under way all results are kept. When
signals may have been lost (reconnect, re-execution) each job is looked up; one that is gone has
finished, and its result is inferred from the unit.
"""

from __future__ import annotations

import time
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

import trio

from tambourinefs.agent.dbus.manager import UNIT
from tambourinefs.agent.ports import JobResult, SystemdRefused, UnitNotFound
from tambourinefs.agent.units.properties import to_path, to_unit
from tambourinefs.errors import TambourineError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Container, Iterator

    from tambourinefs.agent.dbus.manager import Manager
    from tambourinefs.model.unit import Unit

KEPT_MAX: Final = 16384  # results kept while a request is under way
JOB_INTERFACE: Final = "org.freedesktop.systemd1.Job"
JOBS_MAX: Final = (
    100  # under way at once, more wait for their turn; a job that ended holds its rule for a while
)
MODE: Final = "replace"
UNREF_TIMEOUT: Final = 5.0  # seconds that a cancelled caller may wait


@dataclass(slots=True)
class _Job:
    unit: str
    kind: str
    sent_usec: int  # CLOCK_REALTIME
    result: str = ""
    ended: trio.Event = field(default_factory=trio.Event)
    waiters: int = 0

    def end(self, result: str) -> None:
        self.result = self.result or result
        self.ended.set()


def inferred(kind: str, sent_usec: int, unit: Unit) -> str:
    """The result of a job whose signal was lost, where the unit proves it; else "unknown". Pure.

    `kind` is start, stop, restart, reload …; `sent_usec` when it was asked for, CLOCK_REALTIME.
    """
    if kind == "stop":
        return "done" if unit.active_state in {"inactive", "failed"} else "unknown"
    if kind not in {"start", "restart", "try-restart"}:
        return "unknown"
    if unit.active_state == "failed" and unit.state_change_usec >= sent_usec:
        return "timeout" if unit.result == "timeout" else "failed"
    if kind == "start" and unit.active_state in {"active", "reloading"}:
        return "done"
    if unit.active_state == "active" and unit.inactive_exit_usec >= sent_usec:
        return "done"
    if unit.active_state == "inactive" and unit.result == "success":
        ran = unit.inactive_enter_usec >= sent_usec and unit.inactive_exit_usec >= sent_usec
        skipped = not unit.condition_result and unit.condition_usec >= sent_usec
        return "done" if ran or skipped else "unknown"
    return "unknown"


class Jobs:
    """All jobs that are waited for."""

    def __init__(self, manager: Manager, held: Container[str]) -> None:
        """`held`: the units with a reference on this connection that outlives a job."""
        self._manager = manager
        self._held = held
        self._jobs: dict[str, _Job] = {}
        self._requests = 0
        self._slots = trio.CapacityLimiter(JOBS_MAX)
        self._kept: dict[str, str] = {}

    # -- signals

    def removed(self, path: str, result: str) -> None:
        """A JobRemoved signal."""
        job = self._jobs.get(path)
        if job is not None:
            job.end(result)
        elif self._requests and len(self._kept) < KEPT_MAX:
            self._kept[path] = result

    async def check_all(self) -> None:
        """Signals may have been lost: end the jobs that systemd no longer has."""
        for path, job in list(self._jobs.items()):
            if not job.ended.is_set() and not await self._exists(path):
                unit = to_unit(
                    job.unit, await self._manager.properties(to_path(job.unit), job.unit)
                )
                job.end(inferred(job.kind, job.sent_usec, unit))

    async def _exists(self, path: str) -> bool:
        try:
            await self._manager.property(path, JOB_INTERFACE, "JobType")
        except (SystemdRefused, UnitNotFound):  # UnknownObject, NoSuchJob
            return False
        return True

    # -- requests

    async def run(self, unit: str, kind: str) -> JobResult:
        """Ask for a job ("start", "stop", "restart", "reload") and wait until it has ended."""
        async with self._slots:
            if unit in self._held:
                return await self._send(unit, kind)
            async with self._referenced(unit):
                result = await self._send(unit, kind)
                return replace(result, invocation_id=await self._invocation(unit))

    async def _send(self, unit: str, kind: str) -> JobResult:
        with self._keep_results():
            sent = time.time_ns() // 1000
            (path,) = await self._manager.call(f"{kind.title()}Unit", "ss", unit, MODE)
            job = self._join(path, unit, kind, sent)
        return await self._finish(path, job)

    async def wait(self, unit: str) -> JobResult | None:
        """Wait for the job that the unit has now; None when it has none."""
        with self._keep_results():
            number, path = await self._manager.property(to_path(unit), UNIT, "Job")
            if not number:
                return None
            kind = await self._kind(path)
            job = self._join(path, unit, kind, 0)
        return await self._finish(path, job)

    async def _kind(self, path: str) -> str:
        try:
            return str(await self._manager.property(path, JOB_INTERFACE, "JobType"))
        except (SystemdRefused, UnitNotFound):
            return ""

    @asynccontextmanager
    async def _referenced(self, unit: str) -> AsyncIterator[None]:
        """Hold the unit in memory: a oneshot without references loses its invocation when it ends."""
        with suppress(TambourineError):
            await self._manager.call("RefUnit", "s", unit)
        try:
            yield
        finally:
            with trio.move_on_after(UNREF_TIMEOUT, shield=True), suppress(TambourineError):
                await self._manager.call("UnrefUnit", "s", unit)

    @contextmanager
    def _keep_results(self) -> Iterator[None]:
        self._requests += 1
        try:
            yield
        finally:
            self._requests -= 1
            if not self._requests:
                self._kept.clear()

    def _join(self, path: str, unit: str, kind: str, sent_usec: int) -> _Job:
        job = self._jobs.setdefault(path, _Job(unit, kind, sent_usec))
        if path in self._kept:
            job.end(self._kept[path])
        return job

    async def _finish(self, path: str, job: _Job) -> JobResult:
        job.waiters += 1
        try:
            await job.ended.wait()
        finally:
            job.waiters -= 1
            if not job.waiters:
                self._jobs.pop(path, None)
        return JobResult(unit=job.unit, result=job.result)

    async def _invocation(self, unit: str) -> str:
        with suppress(TambourineError):  # the result is known; it must not be lost for this
            return bytes(await self._manager.property(to_path(unit), UNIT, "InvocationID")).hex()
        return ""
