"""Running jobs: each service has at most one, they run side by side, and a slow one holds up its own
service alone.

A job is recorded durably before it is sent. When it has finished, or finished while the agent was away, the
record says what became of it.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Protocol, TypeVar

import trio

from tambourinefs.agent.planning import transitions
from tambourinefs.agent.ports import JobResult, SystemdRefused, SystemdUnavailable, UnitNotFound
from tambourinefs.errors import RefusedByPolicy
from tambourinefs.timestamps import now

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tambourinefs.agent.notifications import Sink
    from tambourinefs.agent.planning.actions import Job
    from tambourinefs.agent.ports import Journal, Systemd
    from tambourinefs.agent.state.applied import AppliedState
    from tambourinefs.agent.state.record import Running
    from tambourinefs.model.names import NamespacedName
    from tambourinefs.model.unit import Unit

log = logging.getLogger(__name__)

T = TypeVar("T")
REFUSED = "refused"  # no job was made


def monotonic_usec() -> int:
    """CLOCK_MONOTONIC, which journald stamps entries with, in microseconds."""
    return time.monotonic_ns() // 1000


class UnitReader(Protocol):
    """The unit cache, or systemd itself."""

    async def unit(self, name: str) -> Unit:
        """The unit as systemd has it now. Raises SystemdUnavailable."""
        ...


class RunningJobs:
    """All jobs that are waited for. `finished` is notified of the service of each that ends;
    `evidence` has starts that systemd has forgotten.
    """

    def __init__(
        self,
        systemd: Systemd,
        applied: AppliedState,
        units: UnitReader,
        finished: Sink[NamespacedName],
        evidence: Journal | None = None,
    ) -> None:
        self._systemd = systemd
        self._applied = applied
        self._units = units
        self._finished = finished
        self._evidence = evidence
        self._scopes: dict[NamespacedName, trio.CancelScope] = {}

    @property
    def keys(self) -> frozenset[NamespacedName]:
        """The services that have a running job."""
        return frozenset(self._scopes)

    def __contains__(self, key: object) -> bool:
        return key in self._scopes

    def launch(self, job: Job, nursery: trio.Nursery) -> None:
        """Send a job whose record is durable. One that already runs for the service is no longer waited
        for: systemd merges the two, or cancels it.
        """
        self._start(job.key, nursery, self._send, (job, self._running(job.key)))

    def recover(self, key: NamespacedName, nursery: trio.Nursery) -> None:
        """Find out what became of the job that is recorded."""
        self._start(key, nursery, self._recover, (key, self._running(key)))

    def _running(self, key: NamespacedName) -> Running | None:
        record = self._applied.get(key)
        return record.running if record is not None else None

    def _start(
        self,
        key: NamespacedName,
        nursery: trio.Nursery,
        task: Callable[[T], Awaitable[None]],
        about: T,
    ) -> None:
        if key in self._scopes:
            self._scopes.pop(key).cancel()
        self._scopes[key] = scope = trio.CancelScope()
        nursery.start_soon(self._run, key, scope, task, about)

    async def _run(
        self,
        key: NamespacedName,
        scope: trio.CancelScope,
        task: Callable[[T], Awaitable[None]],
        about: T,
    ) -> None:
        try:
            with scope:
                await task(about)
        except SystemdUnavailable as error:
            log.warning("%s/%s: %s; trying again when systemd answers", *key, error)
        finally:
            if self._scopes.get(key) is scope:
                del self._scopes[key]
                self._finished.add(key)

    async def _send(self, about: tuple[Job, Running | None]) -> None:
        job, running = about
        try:
            if job.reset_failed:
                await self._systemd.reset_failed(job.unit)
            await self._systemd.ref(job.unit)
            result = await self._do(job)
            message = "" if result.result == "done" else f"systemd's job ended: {result.result}"
        except (SystemdRefused, UnitNotFound, RefusedByPolicy) as error:
            result, message = JobResult(job.unit, REFUSED), error.message
        unit = await self._units.unit(job.unit)
        await self._finish(job.key, running, result.result, message, unit.invocation_id)

    async def _do(self, job: Job) -> JobResult:
        verbs = {
            "start": self._systemd.start,
            "stop": self._systemd.stop,
            "restart": self._systemd.restart,
            "reload": self._systemd.reload_unit,
        }
        try:
            return await verbs[job.verb](job.unit)
        except UnitNotFound:
            record = self._applied.get(job.key)
            if job.verb == "stop":
                return JobResult(job.unit, "done")  # not loaded: there is nothing to stop
            if record is None or not record.owns_unit:
                raise
        # systemd finds new files by their directory's mtime; two changes in one clock tick look like one.
        await self._systemd.reload()
        return await verbs[job.verb](job.unit)

    async def _recover(self, about: tuple[NamespacedName, Running | None]) -> None:
        key, running = about
        record = self._applied.get(key)
        if record is None or running is None:
            return
        await self._systemd.wait_job(record.unit)
        unit = await self._units.unit(record.unit)
        logged: str | None = ""
        if not unit.invocation_id and self._evidence is not None:
            logged = await self._evidence.started_since(record.unit, running.since_usec)
        result = transitions.outcome(running, unit, self._systemd.boot_id, logged)
        if result is None:
            record = self._applied.get(key)
            if record is not None and record.running == running:
                self._applied.set(transitions.unsent(record))
                await self._flush()
        else:
            invocation = unit.invocation_id or logged or ""
            await self._finish(
                key, running, result, "the job finished while the agent did not run", invocation
            )

    async def _finish(
        self,
        key: NamespacedName,
        running: Running | None,
        result: str,
        message: str,
        invocation_id: str,
    ) -> None:
        """Record the end of the job `running`. If a newer one is recorded by now, which is sent as soon as
        the disk has it, this end is not its own.
        """
        record = self._applied.get(key)
        if record is not None and running is not None and record.running == running:
            after = transitions.finished(record, result, message, invocation_id, now())
            self._applied.set(after)
            self._finished.add(key)
            await self._flush()

    async def _flush(self) -> None:
        try:
            await self._applied.flush()
        except OSError as error:
            # The next pass writes it as well, and says so of the service.
            log.warning("applied state cannot be written: %s", error.strerror or error)
