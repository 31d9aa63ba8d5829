"""The loop: bells say look again; then everything that may have changed is read, planned, done and
published.

Start-up, an edit, a signal of systemd, a lost bus and a silo that comes back are the same path: a
set of services to look at again. One pass works on that set as a batch and never waits for a job;
jobs fly beside it (flight.py), and one that landed is a bell like any other. What is published
follows a change of a unit at once, without waiting for a pass.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import trio

from tambourinefs.agent.admission import judge as judging
from tambourinefs.agent.admission.desired import NOT_YET, Desired
from tambourinefs.agent.admission.judge import Judgement
from tambourinefs.agent.admission.policy import alias_refusal
from tambourinefs.agent.host.drift import changed_by_hand
from tambourinefs.agent.planning.plan import Job, Place, Recover, World, plan_service
from tambourinefs.agent.planning.transitions import sending
from tambourinefs.agent.ports import SystemdUnavailable
from tambourinefs.agent.reconcile.jobs import RunningJobs, monotonic_usec
from tambourinefs.agent.reconcile.retry import Retries
from tambourinefs.agent.silo.reading import SiloReader
from tambourinefs.agent.status import views
from tambourinefs.agent.status.conditions import FALSE, TRUE, UNKNOWN, Verdict
from tambourinefs.agent.status.publish import Publisher, StatusSink
from tambourinefs.agent.units.cache import Sight
from tambourinefs.timestamps import now

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from tambourinefs.agent.admission.check import HostCheck, HostChecker
    from tambourinefs.agent.admission.policy import Policy
    from tambourinefs.agent.apply.apply import Applier, Outcome
    from tambourinefs.agent.planning.plan import Action, Gone, Want
    from tambourinefs.agent.ports import Journal, Systemd
    from tambourinefs.agent.silo.scan import Entry, Scan, Silo, SiloUnavailable
    from tambourinefs.agent.state.record import Record
    from tambourinefs.model.names import NamespacedName

log = logging.getLogger(__name__)

YOUNG: Final = 0.5  # seconds; most jobs end sooner
ROUNDS_MAX: Final = 8  # of plan and content in one pass; each brings every service closer


_NOT_YET: Final[Verdict] = Verdict(UNKNOWN, "SiloUnavailable", NOT_YET)


@dataclass(slots=True)
class _Seen:
    """What is known of one service beside its record and its unit."""

    entry: Entry | None = None  # as of the last judgement
    judgement: Judgement = field(default_factory=lambda: Judgement(_NOT_YET))
    checked: HostCheck | None = None
    by_hand: str = ""


class Reconciler:
    """Joins the borders; `run` is its task. All of it is on the trio thread."""

    def __init__(
        self,
        systemd: Systemd,
        checker: HostChecker,
        applier: Applier,
        silo: Silo,
        board: StatusSink,
        journal: Journal | None,
        rules: Policy,
        accept_silo: Callable[[str], None],
        evidence: Journal | None = None,
    ) -> None:
        self._systemd = systemd
        self._applied = applier.applied
        self._host = applier.host
        self._checker = checker
        self._applier = applier
        self._rules = rules
        self._desired = Desired(self._applied, rules)
        self.reader = SiloReader(silo, accept_silo, self._silo_read, self._silo_failed)
        self._sight = Sight(systemd, self._unit_seen, self._look_again_at, self._is_busy)
        self._sight.urgent = self._in_flight
        self._jobs = RunningJobs(systemd, self._applied, self._sight.look, self._landed, evidence)
        self._publisher = Publisher(board, journal, self._known)
        self._retries = Retries(self._try_again)
        self._written: set[str] = set()
        self._passing = False
        self._launched = -YOUNG
        self._released: set[str] = set()
        self._seen: dict[NamespacedName, _Seen] = {key: _Seen() for key in self._applied.records}
        self._dirty: set[NamespacedName] = set(self._applied.records)
        self._wake = trio.Event()
        self.started = trio.Event()  # after the first pass

    @property
    def is_durable(self) -> bool:
        """Whether the disk has all that is remembered."""
        return self._applied.is_durable

    # -- bells

    def _look_again_at(self, key: NamespacedName) -> None:
        self._dirty.add(key)
        self._wake.set()

    def _unit_seen(self, key: NamespacedName) -> None:
        self._publisher.publish(key)

    def _in_flight(self) -> set[str]:
        return {
            self._applied.records[key].unit
            for key in self._jobs.keys
            if key in self._applied.records
        }

    def _is_busy(self) -> bool:
        """Whether somebody waits for a pass, or for a job that has just been sent."""
        young = trio.current_time() - self._launched < YOUNG
        return self._passing or bool(self._dirty) or (young and bool(self._jobs.keys))

    def _landed(self, key: NamespacedName) -> None:
        self._publish(key)
        self._look_again_at(key)

    def _try_again(self, key: NamespacedName) -> None:
        self._seen.setdefault(key, _Seen()).checked = None
        self._look_again_at(key)

    def heard(self, units: frozenset[str] | None) -> None:
        """A bell: these units have logged something (None: any may have)."""
        self._publisher.heard(units)

    # -- tasks

    async def run(self) -> None:
        """A task: everything, for ever."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._sight.listen)
            nursery.start_soon(self._sight.watch)
            nursery.start_soon(self._sight.watch_newborn)
            nursery.start_soon(self._publisher.read_journal)
            nursery.start_soon(self._retries.run)
            nursery.start_soon(self.reader.watch)
            nursery.start_soon(self.reader.run)
            nursery.start_soon(self._work, nursery)

    def _silo_failed(self, error: SiloUnavailable) -> None:
        self._desired.failed(error)
        for key in self._seen:
            self._publisher.publish(key)
        self._retries.silo(self.reader.rang)
        self._wake.set()

    def _silo_read(self, scan: Scan, asked: set[NamespacedName] | None) -> None:
        again = self._desired.read(scan)
        if scan.unread:
            self._retries.silo(lambda _: self.reader.rang(set(self._desired.unread)))
        rang = scan.changed | (asked or set())
        if again:
            rang |= scan.entries.keys() | self._seen.keys()
        for key in rang:
            if key in scan.entries or key in self._seen:
                self._seen.setdefault(key, _Seen()).checked = None  # its payload may have come
                self._retries.clear(key)
                self._dirty.add(key)
        self._wake.set()

    async def _work(self, nursery: trio.Nursery) -> None:
        while True:
            await self._wake.wait()
            self._wake = trio.Event()
            keys, self._dirty = self._dirty, set()
            if not keys and self.started.is_set():  # what rang in the silo is no service
                continue
            self._passing = True
            try:
                await self._pass(sorted(keys), nursery)
            except SystemdUnavailable as error:
                log.warning("waiting for systemd: %s", error)
                self._dirty |= keys
                for key in self._seen:
                    self._publisher.publish(key)
                self.started.set()
                await self._systemd.wait_connected()
                self._wake.set()
            else:
                self.started.set()
            finally:
                self._passing = False

    # -- one pass

    async def _pass(self, keys: list[NamespacedName], nursery: trio.Nursery) -> None:
        taken = self._desired.taken(keys)
        for key in keys:
            self._judge(key, taken)
        await self._sight.know(self._units_of(keys))
        self._refuse_by_alias(keys)
        await self._check(keys)
        with self._sight.hold(self._new_units(keys)):
            for _ in range(ROUNDS_MAX):
                actions = self._plan(keys)
                content = [a for a in actions if not isinstance(a, Job | Recover)]
                if not content:
                    break
                await self._apply(content)
            if await self._launch(actions, nursery):
                self._retries.over(keys)
        written, self._written = self._written, set()
        await self._sight.look_at(written)  # no job will ring for these
        await self._look_for_hands(keys)
        for key in keys:
            self._publish(key)
        while self._released:
            await self._sight.release(self._released.pop())

    def _plan(self, keys: Iterable[NamespacedName]) -> list[Action]:
        wants: dict[NamespacedName, Want] = {}
        gone: dict[NamespacedName, Gone] = {}
        for key in keys:
            seen = self._seen.get(key)
            if seen is None or self._desired.problem:
                continue
            if seen.judgement.want and key not in self._retries and self._is_checked(key):
                wants[key] = seen.judgement.want
            if seen.judgement.gone:
                gone[key] = seen.judgement.gone
        world = World(
            wants, gone, self._applied.records, self._sight.units, self._systemd.boot_id,
            self._jobs.keys,
        )  # fmt: skip
        return [action for key in keys for action in plan_service(key, world)]

    def _is_checked(self, key: NamespacedName) -> bool:
        """Whether the host was looked at where that is needed; else the next pass does."""
        seen = self._seen[key]
        want, checked = seen.judgement.want, seen.checked
        assert want is not None
        if not judging.needs_check(want, self._applied.get(key)):
            return True
        if checked is not None and checked.digest == want.content.digest:
            return True
        self._look_again_at(key)
        return False

    def _new_units(self, keys: Iterable[NamespacedName]) -> set[str]:
        """The units whose files this pass may write."""
        wants = {key: self._seen[key].judgement.want for key in keys}
        return {
            want.unit for key, want in wants.items()
            if want is not None and judging.needs_check(want, self._applied.get(key))
        }  # fmt: skip

    # -- judging

    def _judge(self, key: NamespacedName, taken: Mapping[str, NamespacedName]) -> None:
        seen, record = self._seen.setdefault(key, _Seen()), self._applied.get(key)
        if not self._desired.problem:
            seen.entry = self._desired.entries.get(key)
        self._sight.follow(key, views.unit_name(seen.entry, record))
        if self._desired.problem:
            return  # what is desired is not known
        unread = key in self._desired.unread
        if unread and record is not None and seen.entry is not None and not seen.entry.data:
            seen.entry = None  # the record says more
        seen.judgement = self._desired.judge(key, seen.entry, taken)

    def _refuse_by_alias(self, keys: Iterable[NamespacedName]) -> None:
        for key in keys:
            seen = self._seen[key]
            want = seen.judgement.want
            unit = self._sight.units.get(want.unit) if want else None
            if want is None or unit is None:
                continue
            refused = alias_refusal(want.manifest.spec, (unit.id, *unit.names), self._rules)
            if refused:
                seen.judgement = Judgement(Verdict(FALSE, refused.reason, refused.message))

    def _units_of(self, keys: Iterable[NamespacedName]) -> set[str]:
        units = set()
        for key in keys:
            record, entry = self._applied.get(key), self._seen[key].entry
            units.add(views.unit_name(entry, record))
            units.add(record.unit if record else "")
        return units

    async def _check(self, keys: Iterable[NamespacedName]) -> None:
        """Look at the host for the sake of those whose content is new, and take the verdict into
        their judgement.
        """
        pending: dict[NamespacedName, tuple[Want, Record | None]] = {}
        for key in keys:
            seen, record = self._seen[key], self._applied.get(key)
            want = seen.judgement.want
            if want is None or self._desired.problem or not judging.needs_check(want, record):
                continue
            if seen.checked is None or seen.checked.digest != want.content.digest:
                pending[key] = (want, record)
        if pending:
            async with trio.open_nursery() as nursery:
                # Whether changed content needs a restart must not depend on an old look.
                nursery.start_soon(self._sight.refresh, {w.unit for w, _ in pending.values()})
                for key, checked in (await self._checker.check(pending)).items():
                    self._seen[key].checked = checked
        for key in keys:
            self._take_verdict(key)

    def _take_verdict(self, key: NamespacedName) -> None:
        seen = self._seen[key]
        want, checked = seen.judgement.want, seen.checked
        if want is None or checked is None or checked.digest != want.content.digest:
            return
        if checked.verdict.status != TRUE:
            seen.judgement = Judgement(checked.verdict)
            self._retries.later(key, "")
        else:
            seen.judgement = replace_verdict(seen.judgement, checked.verdict)
            if checked.failure:
                self._retries.later(key, checked.failure)
            elif judging.needs_check(want, self._applied.get(key)):
                self._retries.clear(key)

    # -- doing

    async def _apply(self, content: list[Action]) -> None:
        checked = {key: seen.checked for key, seen in self._seen.items() if seen.checked}
        outcome = await self._applier.apply(content, checked)
        self._absorb(content, outcome)
        self._written |= {
            a.want.unit for a in content if isinstance(a, Place) and not _will_start(a.want)
        }

    def _absorb(self, content: Iterable[Action], outcome: Outcome) -> None:
        for action in content:
            failure = outcome.failures.get(action.key)
            if failure:
                log.warning("%s/%s: %s", *action.key, failure)
                self._retries.later(action.key, failure)
            elif isinstance(action, Place):
                self._retries.clear(action.key)
        if outcome.gone:
            self._dirty |= {
                key for key, seen in self._seen.items()
                if seen.judgement.accepted.reason in {"NameConflict", "ForeignUnit"}
            }  # fmt: skip
            for key in outcome.gone:
                if key in self._seen:  # a job that landed meanwhile may have been the last of it
                    self._seen[key].checked = None
                self._look_again_at(key)
            self._wake.set()

    async def _launch(self, actions: Iterable[Action], nursery: trio.Nursery) -> bool:
        """Send jobs, once the disk has all that is remembered; whether it has."""
        jobs = [a for a in actions if isinstance(a, Job)]
        # What was placed is remembered before it is published as applied, and a job before it is sent.
        for job in jobs:
            record, unit = self._applied.records[job.key], self._sight.units[job.unit]
            boot = self._systemd.boot_id
            self._applied.set(sending(record, job, unit, boot, now(), monotonic_usec()))
        try:
            await self._applied.flush()
        except OSError as error:
            message = f"applied state cannot be written: {error.strerror or error}"
            for job in jobs:
                self._retries.later(job.key, message)
            return False
        for job in jobs:
            self._sight.leave(job.unit)
            self._jobs.launch(job, nursery)
            self._launched = trio.current_time()
        for action in actions:
            if isinstance(action, Recover):
                self._jobs.recover(action.key, nursery)
        return True

    async def _look_for_hands(self, keys: Iterable[NamespacedName]) -> None:
        records = {key: record for key in keys if (record := self._applied.get(key)) is not None}
        found = await trio.to_thread.run_sync(changed_by_hand, self._host, records)
        for key, message in found.items():
            self._seen[key].by_hand = message

    # -- publishing

    def _publish(self, key: NamespacedName) -> None:
        seen = self._seen.get(key)
        if seen is None:
            return
        if seen.entry is None and self._applied.get(key) is None and not self._desired.problem:
            unit = self._sight.of(key)
            self._sight.unfollow(key)
            self._publisher.withdraw(key)
            self._retries.clear(key)
            del self._seen[key]
            if unit is not None:
                self._released.add(unit.name)
            return
        self._publisher.publish(key)

    def _known(self, key: NamespacedName) -> views.Known:
        seen, unit, record = self._seen[key], self._sight.of(key), self._applied.get(key)
        want = seen.judgement.want
        masked = unit is not None and unit.load_state == "masked" and record and record.owns_unit
        return views.Known(
            key,
            seen.entry,
            record,
            unit,
            seen.judgement.accepted,
            self._systemd.boot_id,
            digest=want.content.digest if want else "",
            failure=self._retries.why(key),
            changed_by_hand="the unit was masked by somebody" if masked else seen.by_hand,
            silo=self._desired.problem or self._desired.unread.get(key, ""),
            connected=self._systemd.connected,
            journal=self._publisher.lines(key),
        )


def replace_verdict(judgement: Judgement, verdict: Verdict) -> Judgement:
    """The same with what the check of the host said."""
    return Judgement(verdict, judgement.want, judgement.gone)


def _will_start(want: Want) -> bool:
    return want.manifest.spec.command in {"start", "restart"}
