"""The loop. Notifications say that something changed; a pass then reads everything about those
services, admits, plans, applies, starts jobs and publishes.

Start-up, an edit, a signal of systemd, a lost bus and a silo that comes back are the same path: a
set of services. A pass works on that set as a batch and never waits for a job (jobs.py); a job that
finishes is a notification like any other. A change of a unit is published at once, by a task beside
the passes.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import trio

from tambourinefs.agent.admission import admit
from tambourinefs.agent.admission.admit import Admission, HostFacts
from tambourinefs.agent.admission.conflicts import owners
from tambourinefs.agent.host.drift import find_drift
from tambourinefs.agent.notifications import Both, Notifications
from tambourinefs.agent.planning.actions import Job, Place, PlanInput, Recover
from tambourinefs.agent.planning.plan import plan_service
from tambourinefs.agent.planning.transitions import sending
from tambourinefs.agent.ports import SystemdUnavailable
from tambourinefs.agent.reconcile.jobs import RunningJobs, monotonic_usec
from tambourinefs.agent.reconcile.retry import Retries
from tambourinefs.agent.silo.reading import NOT_YET, Manifests
from tambourinefs.agent.status import views
from tambourinefs.agent.status.conditions import ServiceState
from tambourinefs.agent.status.publish import Publisher, StatusSink
from tambourinefs.agent.units.cache import UnitCache
from tambourinefs.model.status import UNKNOWN, ConditionState
from tambourinefs.timestamps import now

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tambourinefs.agent.admission.admit import HostCheck, Reading
    from tambourinefs.agent.admission.check import HostChecker
    from tambourinefs.agent.admission.policy import Policy
    from tambourinefs.agent.apply.apply import Applier
    from tambourinefs.agent.planning.actions import Action
    from tambourinefs.agent.ports import Journal, Systemd
    from tambourinefs.agent.silo.scan import Entry, Silo
    from tambourinefs.agent.state.record import Claim
    from tambourinefs.model.names import NamespacedName

log = logging.getLogger(__name__)

YOUNG: Final = 0.5  # seconds; most jobs finish sooner
ROUNDS_MAX: Final = 8  # of plan and content in one pass; each brings every service closer

_NOT_READ: Final = Admission(ConditionState(UNKNOWN, "SiloUnavailable", NOT_YET))


@dataclass(slots=True)
class _Service:
    """What the loop knows of one service beside its record and its unit."""

    entry: Entry | None = None  # as of the latest admission
    reading: Reading | None = None  # of the latest entry that was read
    check: HostCheck | None = None  # the latest; None: to be done again
    admission: Admission = _NOT_READ
    drift: str = ""


class Reconciler:
    """Connects silo, admission, plan, systemd and statuses; `run` is its task. On the trio thread."""

    def __init__(
        self,
        systemd: Systemd,
        checker: HostChecker,
        applier: Applier,
        silo: Silo,
        sink: StatusSink,
        journal: Journal | None,
        policy: Policy,
        evidence: Journal | None = None,
    ) -> None:
        self._systemd = systemd
        self._applied = applier.applied
        self._host = applier.host
        self._checker = checker
        self._applier = applier
        self._policy = policy
        self._services = {key: _Service() for key in self._applied.records}
        self._to_read: Notifications[NamespacedName] = Notifications()  # manifests
        self._to_reconcile: Notifications[NamespacedName] = Notifications()
        self._to_publish: Notifications[NamespacedName] = Notifications()
        self.manifests = Manifests(silo, self._to_read)
        self._units = UnitCache(systemd)
        finished = Both(self._to_publish, self._to_reconcile)
        self._jobs = RunningJobs(systemd, self._applied, self._units, finished, evidence)
        self._publisher = Publisher(sink, journal, self._to_publish)
        self._retries = Retries(self._to_reconcile)
        self._passing = False
        self._launched = -YOUNG
        self.started = trio.Event()  # after the first pass

    @property
    def is_durable(self) -> bool:
        """Whether the disk has all applied state."""
        return self._applied.is_durable

    def journal_changed(self, units: frozenset[str] | None) -> None:
        """These units have logged something (None: any may have)."""
        self._publisher.journal_changed(units)

    def _units_with_jobs(self) -> set[str]:
        records = self._applied.records
        return {records[key].unit for key in self._jobs.keys if key in records}

    def _is_busy(self) -> bool:
        """Whether a pass runs or waits, or a job was sent just now."""
        young = trio.current_time() - self._launched < YOUNG
        return self._passing or bool(self._to_reconcile) or (young and bool(self._jobs.keys))

    # -- tasks

    async def run(self) -> None:
        """A task: everything, for ever."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._read_units)
            nursery.start_soon(self._follow_units)
            nursery.start_soon(self._publisher.read_journal)
            nursery.start_soon(self._retries.run)
            nursery.start_soon(self.manifests.watch)
            nursery.start_soon(self.manifests.run)
            nursery.start_soon(self._read_manifests)
            nursery.start_soon(self._publish_changed)
            nursery.start_soon(self._reconcile, nursery)

    async def _read_units(self) -> None:
        """Read units that changed; in an outage of systemd wait for its return."""
        while True:
            try:
                await self._units.wait()
                await self._units.read_next(self._units_with_jobs(), busy=self._is_busy())
            except SystemdUnavailable as error:
                log.info("units cannot be read: %s", error)
                await self._systemd.wait_connected()

    async def _follow_units(self) -> None:
        while True:
            updates = await self._units.updates()
            self._to_publish.notify(updates.services)
            if updates.decisive:
                self._to_reconcile.notify(updates.decisive)

    async def _read_manifests(self) -> None:
        """A manifest that was read is a service to reconcile from scratch."""
        pending = set(self._services)  # applied by an agent before this one
        while True:
            keys = await self._to_read.take()
            entries = self.manifests.entries
            known = entries.keys() | self._services.keys()
            changed = known if keys is None else keys & known
            for key in changed:
                self._services.setdefault(key, _Service()).check = None  # its payload may be there
                self._retries.clear(key)
            if self.manifests.problem:
                self._to_publish.notify(self._services)
            self._to_reconcile.notify(changed | pending)
            pending = set()

    async def _publish_changed(self) -> None:
        while True:
            for key in sorted((await self._to_publish.take() or set()) & self._services.keys()):
                if not self._is_gone(key):
                    self._publish(key)

    async def _reconcile(self, nursery: trio.Nursery) -> None:
        while True:
            keys = sorted(await self._to_reconcile.take() or ())
            if not keys and self.started.is_set():  # a change in the silo that is not a service
                continue
            self._passing = True
            try:
                await self._pass(keys, nursery)
            except SystemdUnavailable as error:
                log.warning("waiting for systemd: %s", error)
                self._to_publish.notify(self._services)
                self.started.set()
                await self._systemd.wait_connected()
                self._to_reconcile.notify(keys)
            else:
                self.started.set()
            finally:
                self._passing = False

    # -- one pass

    async def _pass(self, keys: list[NamespacedName], nursery: trio.Nursery) -> None:
        self._read(keys)
        await self._units.ensure(self._unit_names(keys))
        self._admit(keys)
        await self._check_host(keys)
        placed = await self._apply(keys, nursery)
        await self._units.read_all(placed)  # no job signals for these
        await self._find_drift(keys)
        for key in keys:
            if self._is_gone(key):
                await self._forget(key)
            else:
                self._publish(key)

    def _read(self, keys: Iterable[NamespacedName]) -> None:
        """Take each service's manifest as the silo has it now."""
        for key in keys:
            service, record = self._services.setdefault(key, _Service()), self._applied.get(key)
            if not self.manifests.problem:
                service.entry = self.manifests.entries.get(key)
                if (
                    key in self.manifests.unread
                    and record
                    and not (service.entry and service.entry.data)
                ):
                    service.entry = None  # the record has more
            if self._retries.is_due(key):
                service.check = None
            self._units.follow(key, views.unit_name(service.entry, record))

    def _unit_names(self, keys: Iterable[NamespacedName]) -> set[str]:
        records = [record for key in keys if (record := self._applied.get(key))]
        named = {views.unit_name(self._services[key].entry, self._applied.get(key)) for key in keys}
        return named | {record.unit for record in records}

    # -- admission

    def _admit(self, keys: Iterable[NamespacedName]) -> None:
        """Admit again by all that is known now; without the silo the latest admission stays."""
        if self.manifests.problem:
            return
        keys = list(keys)
        owned = self._owners(keys)
        for key in keys:
            service = self._services[key]
            reading = self._reading(key, service.entry) if service.entry is not None else None
            unit = self._units.units.get(views.unit_name(service.entry, None))
            facts = HostFacts(
                self._policy,
                self.manifests.uuid,
                owned,
                unit_names=(unit.id, *unit.names) if unit is not None else (),
                unreadable=self.manifests.unread.get(key, ""),
                check=service.check,
            )
            service.admission = admit.admit(reading, self._applied.get(key), facts)

    def _reading(self, key: NamespacedName, entry: Entry) -> Reading:
        service = self._services.setdefault(key, _Service())
        if service.reading is None or service.reading.entry is not entry:
            service.reading = admit.read(entry, self._policy)
        return service.reading

    def _owners(self, keys: Iterable[NamespacedName]) -> Mapping[Claim, NamespacedName]:
        """The owner of each claimed name. Services that are not applied compete for the free ones."""
        records = self._applied.records
        if all(key in records for key in keys):
            return self._applied.owners
        competing = {}
        for key, entry in self.manifests.entries.items():
            if key not in records and entry.manifest and self._reading(key, entry).competes:
                competing[key] = (entry.manifest, self._reading(key, entry).claims)
        return owners(self._applied.owners, competing)

    async def _check_host(self, keys: Iterable[NamespacedName]) -> None:
        """Check the host for new content, and admit it again by what was found."""
        wants = {
            key: (want, self._applied.get(key))
            for key in keys
            if (want := self._services[key].admission.want) and not self._is_checked(key)
        }
        if wants and not self.manifests.problem:
            async with trio.open_nursery() as nursery:
                # Whether changed content needs a restart must not depend on an old state.
                nursery.start_soon(self._units.refresh, {want.unit for want, _ in wants.values()})
                for key, check in (await self._checker.check(wants)).items():
                    self._services[key].check = check
            self._admit(wants)
        for key in keys:
            admission = self._services[key].admission
            if admission.check is None:
                continue
            if not admission.check.passed:
                self._retries.later(key, admission.check.failure)
            elif admission.want and admit.needs_check(admission.want, self._applied.get(key)):
                self._retries.clear(key)

    def _is_checked(self, key: NamespacedName) -> bool:
        return admit.is_checked(self._services[key].admission, self._applied.get(key))

    # -- plan and apply

    async def _apply(self, keys: list[NamespacedName], nursery: trio.Nursery) -> set[str]:
        """Do what the plan says, and start its jobs. Returns the units that were written and get no
        job.
        """
        gone: set[NamespacedName] = set()  # they start from scratch in the next pass
        placed: set[str] = set()
        with self._units.hold(self._new_units(keys)):
            for _ in range(ROUNDS_MAX):
                actions = self._plan([key for key in keys if key not in gone])
                content = [a for a in actions if not isinstance(a, Job | Recover)]
                if not content:
                    break
                gone |= await self._apply_content(content)
                placed |= {
                    a.want.unit for a in content if isinstance(a, Place) and not _will_start(a.want)
                }
            if await self._launch(actions, nursery):
                self._retries.succeeded(keys)
        if not self.manifests.problem:  # a record changed meanwhile: the next pass checks them
            self._to_reconcile.notify(
                key
                for key in keys
                if self._services[key].admission.want and not self._is_checked(key)
            )
        return placed

    def _plan(self, keys: Iterable[NamespacedName]) -> list[Action]:
        admissions = {key: self._services[key].admission for key in keys}
        if self.manifests.problem:
            admissions = {}  # desired state is unknown: only what has begun goes on
        plan_input = PlanInput(
            {
                key: admission.want for key, admission in admissions.items()
                if admission.want and self._is_checked(key) and not self._retries.is_waiting(key)
            },
            {key: admission.absent for key, admission in admissions.items() if admission.absent},
            self._applied.records,
            self._units.units,
            self._systemd.boot_id,
            self._jobs.keys,
        )  # fmt: skip
        return [action for key in keys for action in plan_service(key, plan_input)]

    def _new_units(self, keys: Iterable[NamespacedName]) -> set[str]:
        """The units whose files this pass may write."""
        wants = {key: self._services[key].admission.want for key in keys}
        return {
            want.unit for key, want in wants.items()
            if want is not None and admit.needs_check(want, self._applied.get(key))
        }  # fmt: skip

    async def _apply_content(self, content: list[Action]) -> set[NamespacedName]:
        """Returns the services that are gone from this host."""
        checks = {a.key: self._services[a.key].admission.check for a in content}
        result = await self._applier.apply(content, {k: c for k, c in checks.items() if c})
        for action in content:
            failure = result.failures.get(action.key)
            if failure:
                log.warning("%s/%s: %s", *action.key, failure)
                self._retries.later(action.key, failure)
            elif isinstance(action, Place):
                self._retries.clear(action.key)
        for key in result.gone:
            self._services[key].check = None
            self._to_reconcile.add(key)
        if result.gone:  # their names are free now
            self._to_reconcile.notify(
                key for key, service in self._services.items()
                if service.admission.accepted.reason in {"NameConflict", "ForeignUnit"}
            )  # fmt: skip
        return result.gone

    async def _launch(self, actions: Iterable[Action], nursery: trio.Nursery) -> bool:
        """Start jobs, once the disk has all applied state; whether it has."""
        jobs = [a for a in actions if isinstance(a, Job)]
        for job in jobs:
            record, unit = self._applied.records[job.key], self._units.units[job.unit]
            boot = self._systemd.boot_id
            self._applied.set(sending(record, job, unit, boot, now(), monotonic_usec()))
        try:
            await self._applied.flush()  # also what was placed, before it is published as applied
        except OSError as error:
            message = f"applied state cannot be written: {error.strerror or error}"
            for job in jobs:
                self._retries.later(job.key, message)
            return False
        for job in jobs:
            self._units.job_is_sent(job.unit)
            self._jobs.launch(job, nursery)
            self._launched = trio.current_time()
        for action in actions:
            if isinstance(action, Recover):
                self._jobs.recover(action.key, nursery)
        return True

    async def _find_drift(self, keys: Iterable[NamespacedName]) -> None:
        records = {key: record for key in keys if (record := self._applied.get(key)) is not None}
        found = await trio.to_thread.run_sync(find_drift, self._host, records)
        for key, drift in found.items():
            self._services[key].drift = drift

    # -- publishing

    def _is_gone(self, key: NamespacedName) -> bool:
        """Whether a service has neither manifest nor record."""
        if self._services[key].entry is not None or self.manifests.problem:
            return False
        return self._applied.get(key) is None

    async def _forget(self, key: NamespacedName) -> None:
        unit = self._units.of(key)
        self._units.unfollow(key)
        self._publisher.withdraw(key)
        self._retries.clear(key)
        del self._services[key]
        if unit is not None:
            await self._units.release(unit.name)

    def _publish(self, key: NamespacedName) -> None:
        self._publisher.publish(self._state(key, self._services[key]))

    def _state(self, key: NamespacedName, service: _Service) -> ServiceState:
        unit, record = self._units.of(key), self._applied.get(key)
        want = service.admission.want
        masked = unit is not None and unit.load_state == "masked" and record and record.owns_unit
        return ServiceState(
            key,
            service.entry,
            record,
            unit,
            service.admission.accepted,
            self._systemd.boot_id,
            digest=want.content.digest if want else "",
            failure=self._retries.why(key),
            drift="the unit was masked on the host" if masked else service.drift,
            silo=self.manifests.problem or self.manifests.unread.get(key, ""),
            connected=self._systemd.connected,
            journal=self._publisher.lines(key),
        )


def _will_start(want: admit.Want) -> bool:
    return want.manifest.spec.command in {"start", "restart"}
