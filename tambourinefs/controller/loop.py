"""Look at everything, decide, write what differs. Rung by every change, never told what changed."""

from __future__ import annotations

import dataclasses
import logging
import math
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

from tambourinefs import timestamps
from tambourinefs.controller import fanout, history, summary, world
from tambourinefs.controller.heartbeats import Heartbeats
from tambourinefs.controller.objects import Objects
from tambourinefs.controller.steady import Steady
from tambourinefs.controller.world import Member, Service, World
from tambourinefs.controller.writers import Write, Writers
from tambourinefs.errors import NotFound, TambourineError, Unreachable
from tambourinefs.kube.api import Api
from tambourinefs.kube.backoff import Backoff
from tambourinefs.kube.events import Recorder, Regarding
from tambourinefs.kube.namespaced import Namespaced
from tambourinefs.kube.reflector import Reflector
from tambourinefs.kube.resources import (
    CORE_NODES,
    CRDS,
    INSTANCES,
    LEASES,
    NODES,
    REVISIONS,
    TAMBOURINES,
)
from tambourinefs.model import cluster, statusevents
from tambourinefs.model.status import Condition

log = logging.getLogger(__name__)
LOOK_EVERY: Final = 5.0  # seconds: heartbeats that stop ring no bell
OWED_EVERY: Final = 0.5  # seconds, while the API server is away
PATIENCE: Final = 5.0  # seconds between two tries to reach it, at most
LOOK_ANYWAY_EVERY: Final = 60.0  # seconds
REMEMBER_GONE: Final = 86400.0  # seconds
GATHER: Final = 0.05  # seconds in which changes gather into one look
STATUS_EVERY: Final = 1.0  # seconds between two statuses of one Tambourine


class Controller:
    """Its reflectors and its one worker."""

    def __init__(
        self,
        api: Api,
        recorder: Recorder,
        *,
        lease_namespace: str = cluster.LEASE_NAMESPACE,
        namespaces: Sequence[str] = (),
        deadline: float = cluster.TOMBSTONE_DEADLINE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`namespaces`: watch Tambourines there alone; none means in all. `deadline`: seconds that a deletion waits for its
        nodes.
        """
        self._api = api
        self._recorder = recorder
        self._deadline = deadline
        self._clock = clock
        self._writers = Writers()
        self._bell = threading.Event()
        ring = self._bell.set
        self.services = Namespaced(
            api, TAMBOURINES, namespaces, project=world.service, bell=ring, patience=PATIENCE
        )
        self.reports = Namespaced(
            api, INSTANCES, namespaces, project=world.report, bell=ring, patience=PATIENCE
        )
        self.revisions = Namespaced(
            api, REVISIONS, namespaces, project=world.revision, bell=ring, patience=PATIENCE
        )
        self.members = Reflector(api, NODES, project=world.member, bell=ring, patience=PATIENCE)
        self.nodes = Reflector(api, CORE_NODES, project=_labels, bell=ring, patience=PATIENCE)
        self.leases = Reflector(
            api, LEASES, project=_version, bell=lambda: None, namespace=lease_namespace,
            patience=PATIENCE,
        )  # fmt: skip
        self._objects = Objects(
            api, services=self.services, members=self.members, reports=self.reports,
            revisions=self.revisions, again=ring,
        )  # fmt: skip
        self._heartbeats = Heartbeats(clock)
        self._steady = Steady(clock)
        self._believed = math.inf  # by the clock: when a rollout may go on without an event
        self._were_lost: frozenset[str] = frozenset()
        self._looked = clock()
        self._written: dict[str, float] = {}  # uid: when its status was written last
        self._deleted: dict[str, float] = {}  # uid: when we first saw that it shall go
        self._gone: dict[str, float] = {}  # nodes: when we first saw that they are

    @property
    def reflectors(self) -> list[Reflector[Any]]:
        several = (self.services, self.reports, self.revisions)
        in_namespaces: list[Reflector[Any]] = [one for kind in several for one in kind.reflectors]
        return [*in_namespaces, self.members, self.nodes, self.leases]

    def run(self, stop: threading.Event) -> None:
        """Work until `stop`. A look that fails is repeated, later each time."""
        backoff = Backoff(0.2, 10.0)
        owed = False
        while not stop.is_set():
            patience = max(0.0, min(LOOK_EVERY, self._believed - self._clock()))
            rung = self._bell.wait(OWED_EVERY if owed else patience)
            self._bell.clear()
            if not rung and not owed and not self._is_due():
                continue
            # Services of before a restore and nodes of after it must not be looked at together.
            owed = stop.wait(GATHER) or not all(one.current for one in self.reflectors)
            if owed:
                self._steady.forget()
                continue
            try:
                again = self.look()
            except TambourineError as error:
                log.warning("%s", error)
                self._bell.set()
                stop.wait(backoff.next())
            else:
                backoff.reset()
                if again:
                    self._bell.set()
                    stop.wait(STATUS_EVERY / 4)

    def look(self) -> bool:
        """One look at everything; True when something was put off that must not wait for the next change."""
        now = self._world()
        wanted = fanout.wanted(now)
        problems = self._writers.each(self._preparations(now, wanted))
        problems |= self._writers.each(
            (name, partial(self._objects.assign, now.members[name], _without(assignments, now.members[name], problems)))
            for name, assignments in wanted.assignments.items()
        )  # fmt: skip
        for service in now.services.values():
            if service.deleted:
                with _alone(service.uid, problems):
                    self._let_go(now, service)
        self._forget(now)
        self._forget_nodes(now)
        self._writers.each(
            (item.uid, partial(self._objects.delete_revision, item)) for item in history.excess(now)
        )
        going = {uid for uid, one in wanted.spreads.items() if one.waiting and not one.stopped}
        self._believed = min(
            (at for (uid, _), at in now.young.items() if uid in going), default=math.inf
        )
        return self._report(dataclasses.replace(now, problems=problems), wanted)

    def _is_due(self) -> bool:
        """Whether time alone has changed something: a node is lost or was Ready long enough for a rollout, a deletion waited
        long enough, a minute has passed.
        """
        clock = self._clock()
        if self._deleted or self._gone or clock - self._looked >= LOOK_ANYWAY_EVERY:
            return True
        if clock >= self._believed:
            return True
        return self._lost([key[1] for key in self.members.items]) != self._were_lost

    def _lost(self, names: Iterable[str]) -> frozenset[str]:
        leases = {name: version for (_, name), version in self.leases.items.items()}
        versions = {name: leases.get(cluster.lease_name(name), "") for name in names}
        return self._heartbeats.lost(versions, versions)

    def _world(self) -> World:
        services, members = self.services.items, {m.name: m for m in self.members.items.values()}
        self._looked, self._were_lost = self._clock(), self._lost(members)
        deleted = {item.uid for item in services.values() if item.deleted}
        clock = self._clock()
        self._deleted = {uid: self._deleted.get(uid, clock) for uid in deleted}
        expired = {uid for uid, at in self._deleted.items() if clock - at >= self._deadline}
        reports = self.reports.items
        return World(
            services=services,
            members=members,
            labels={name: labels for (_, name), labels in self.nodes.items.items()},
            reports=reports,
            revisions=self.revisions.items,
            lost=self._were_lost,
            unreachable=frozenset(name for name, one in members.items() if one.is_unreachable),
            young=self._steady.young(reports.values()),
            orders=not deleted or self._crds_stay(),
            expired=frozenset(expired),
        )

    def _crds_stay(self) -> bool:
        """Whether a deletion is somebody's order: the objects of a CRD that is being deleted go without one."""
        try:
            crd = self._api.get(CRDS, f"{TAMBOURINES.plural}.{TAMBOURINES.group}")
        except TambourineError as error:
            log.warning("deletions wait: our CRD cannot be read: %s", error)
            return False
        if crd["metadata"].get("deletionTimestamp"):
            log.error("our CRD is being deleted: that is no order to remove anything from a host")
            return False
        return True

    def _preparations(self, now: World, wanted: fanout.Wanted) -> Iterator[Write]:
        """Finalizer, revision and instances are there before any node hears of it."""
        for service in now.services.values():
            if service.deleted or service.spec is None:
                continue
            targets = wanted.spreads[service.uid].targets
            if cluster.FINALIZER not in service.finalizers and targets:
                finalizers = [*service.finalizers, cluster.FINALIZER]
                yield service.uid, partial(self._objects.patch_finalizers, service, finalizers)
            if (service.namespace, service.revision) not in now.revisions and targets:
                yield service.uid, partial(self._objects.make_revision, service)
            for node in targets:
                if now.report(service, node) is None:
                    yield service.uid, partial(self._objects.make_instance, now, service, node)

    def _let_go(self, now: World, service: Service) -> None:
        """Take our finalizer off when every node has removed it, is gone, or was waited for long enough."""
        if cluster.FINALIZER not in service.finalizers or not now.orders:
            return
        for member in now.members.values():
            entry = member.assignment(service.uid)
            if entry is None or member.name not in now.labels or service.uid in now.expired:
                continue
            done = {item.uid: item.generation for item in member.status.acknowledged}
            if entry.state == cluster.INSTALLED or done.get(service.uid, -1) < entry.generation:
                return
        rest = [item for item in service.finalizers if item != cluster.FINALIZER]
        try:
            self._objects.patch_finalizers(service, rest)
        except NotFound:
            return

    def _forget(self, now: World) -> None:
        """Instances of nodes that are no longer told of it."""
        by_uid = {service.uid: service for service in now.services.values()}
        for report in now.reports.values():
            service, member = by_uid.get(report.owner), now.members.get(report.node)
            if service is None or service.deleted:
                continue
            if member is None:
                if report.node not in now.labels:
                    self._objects.delete_instance(report)
                continue
            entry = member.assignment(service.uid)
            fine = cluster.allows(member.status.namespaces, service.namespace)
            if entry is None and fine and not fanout.is_target(now, service, member.name):
                self._objects.delete_instance(report)

    def _forget_nodes(self, now: World) -> None:
        """TambourineNodes whose Node is gone and whose agent is silent: at once, or a day later where a removal waits for
        it. One that still speaks is kept: its kubelet may make the Node again, and it would make its own again, too.
        """
        clock = self._clock()
        gone = {name for name in now.members if name not in now.labels and name in now.lost}
        self._gone = {name: self._gone.get(name, clock) for name in gone}
        for name, since in self._gone.items():
            member = now.members[name]
            waits = any(item.state != cluster.INSTALLED for item in member.assignments)
            if waits and clock - since < REMEMBER_GONE:
                continue
            log.info("node %s is gone: forgetting it", name)
            self._objects.delete_node(name)

    def _report(self, now: World, wanted: fanout.Wanted) -> bool:
        """The status of each Tambourine that changed, at most once a second; True when one had to wait."""
        waiting, writes = False, list[Write]()
        at = timestamps.now()
        for service in now.services.values():
            if service.deleted:
                continue
            status = summary.summary(now, service, wanted.spreads.get(service.uid), at)
            if status == service.status:
                continue
            begins = not service.status and summary.is_in_progress(status)
            if begins:  # most are Ready within a second: one write, and that one at once
                self._written.setdefault(service.uid, self._clock())
            since = self._clock() - self._written.get(service.uid, -STATUS_EVERY)
            if since < STATUS_EVERY and (begins or service.status):
                waiting = True
                continue
            self._written[service.uid] = self._clock()
            writes.append((service.uid, partial(self._write_status, service, status)))
        _all_well(self._writers.each(writes))
        alive = {service.uid for service in now.services.values()}
        self._written = {uid: at for uid, at in self._written.items() if uid in alive}
        self._say_silent(now)
        return waiting

    def _write_status(self, service: Service, status: dict[str, Any]) -> None:
        if not self._objects.write_status(service, status):
            return
        about = Regarding(TAMBOURINES, service.namespace, service.name, service.uid)
        for item in statusevents.of_conditions(service.status, status):
            self._recorder.event(about, item.kind, item.reason, item.note, action="Sync")

    def _say_silent(self, now: World) -> None:
        """Nobody reads `active (running)` of a node that is not heard of, or whose agent is away, nor that it is Ready; its
        sync takes the word back.
        """
        back: dict[str, str] = {}
        silent: list[Write] = []
        for report in now.reports.values():
            reason = now.silence(report.node)
            if not reason:
                _note_silent(back, report.node, report.ready, cluster.SILENT)
            elif report.status.active_state not in {"unknown", ""}:
                silent.append((report.uid, partial(self._objects.take_word, report, reason)))
        for name, member in now.members.items():
            if name not in now.lost:
                _note_silent(back, name, member.ready, {cluster.NODE_LOST})
            elif member.ready is not None and member.ready.reason != cluster.NODE_LOST:
                silent.append((name, partial(self._objects.take_word_of_node, member)))
        _all_well(self._writers.each(silent))
        for name, since in back.items():
            self._objects.ask_again(now.members.get(name), since)


def _note_silent(
    back: dict[str, str], node: str, ready: Condition | None, reasons: Collection[str]
) -> None:
    """Since when we say of a node that it is silent, although it is heard of."""
    if ready is not None and ready.reason in reasons:
        back[node] = max(back.get(node, ""), ready.last_transition_time)


def _all_well(problems: dict[str, str]) -> None:
    """Raises TambourineError with the first of them: the look is made again."""
    for said in problems.values():
        raise TambourineError(said)


@contextmanager
def _alone(about: str, problems: dict[str, str]) -> Iterator[None]:
    """What is refused to one object holds up no other; an API server that is away does."""
    try:
        yield
    except Unreachable:
        raise
    except TambourineError as error:
        log.warning("%s", error)
        problems[about] = str(error)


def _without(
    wanted: dict[str, cluster.Assignment], member: Member, problems: dict[str, str]
) -> dict[str, cluster.Assignment]:
    """The assignments, with those that could not be prepared as they were."""
    found = {uid: item for uid, item in wanted.items() if uid not in problems}
    found |= {item.uid: item for item in member.assignments if item.uid in problems}
    return found


def _labels(item: dict[str, Any]) -> dict[str, str]:
    return item["metadata"].get("labels") or {}


def _version(item: dict[str, Any]) -> str:
    return str(item["metadata"]["resourceVersion"])
