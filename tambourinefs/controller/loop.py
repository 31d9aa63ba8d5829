"""The controller's worker: reads everything, decides, writes what differs.

What to write is decided by assignments.py and rollout.py (which node is assigned what), summary.py (Tambourine.status) and
history.py (old revisions).
"""

from __future__ import annotations

import dataclasses
import logging
import math
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, Final

from tambourinefs import timestamps
from tambourinefs.controller import assignments, history, snapshot, summary
from tambourinefs.controller.assignments import Plan
from tambourinefs.controller.availability import AvailabilityTracker
from tambourinefs.controller.liveness import LeaseTracker
from tambourinefs.controller.objects import Objects
from tambourinefs.controller.snapshot import Member, Service, Snapshot
from tambourinefs.controller.writers import Write, Writers
from tambourinefs.errors import NotFound, TambourineError
from tambourinefs.kube import workloop
from tambourinefs.kube.api import Api
from tambourinefs.kube.events import Recorder, Regarding
from tambourinefs.kube.reflector import NamespacedReflector, Reflector
from tambourinefs.kube.resources import (
    CORE_NODES,
    CRDS,
    INSTANCES,
    LEASES,
    NODES,
    REVISIONS,
    TAMBOURINES,
)
from tambourinefs.kube.workloop import Backoff, isolated, raise_first
from tambourinefs.model import cluster, statusevents
from tambourinefs.model.status import Condition

log = logging.getLogger(__name__)
CHECK_EVERY: Final = 5.0  # seconds: a heartbeat that stops is not a change
NOT_CURRENT_EVERY: Final = 0.5  # seconds, while the API server is unreachable
MAX_BACKOFF: Final = 5.0  # seconds between two attempts to reach it
RECONCILE_EVERY: Final = 60.0  # seconds, without any change
FORGET_NODE_AFTER: Final = 86400.0  # seconds
GATHER: Final = 0.05  # seconds in which changes are gathered into one step
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
        """`namespaces`: whose Tambourines; empty for all. `deadline`: seconds that a deletion waits for its nodes."""
        self._api = api
        self._recorder = recorder
        self._deadline = deadline
        self._clock = clock
        self._writers = Writers()
        self._changed = changed = threading.Event()

        several = partial(
            NamespacedReflector, api, changed=changed, max_backoff=MAX_BACKOFF, namespaces=namespaces
        )  # fmt: skip
        one = partial(Reflector, api, max_backoff=MAX_BACKOFF)
        self.services: NamespacedReflector[Service] = several(TAMBOURINES, project=snapshot.service)
        self.reports: NamespacedReflector[snapshot.Report] = several(
            INSTANCES, project=snapshot.report
        )
        self.revisions: NamespacedReflector[snapshot.Revision] = several(
            REVISIONS, project=snapshot.revision
        )
        self.members: Reflector[Member] = one(NODES, project=snapshot.member, changed=changed)
        self.nodes: Reflector[dict[str, str]] = one(CORE_NODES, project=_labels, changed=changed)
        # Heartbeats do not wake the worker.
        self.leases: Reflector[str] = one(LEASES, project=_version, namespace=lease_namespace)
        self._objects = Objects(
            api, services=self.services, members=self.members, reports=self.reports,
            revisions=self.revisions, changed=changed,
        )  # fmt: skip
        self._liveness = LeaseTracker(clock)
        self._availability = AvailabilityTracker(clock)
        self._pending = True  # a step has to run without any change
        self._rollout_due = math.inf  # by the clock: when a rollout may go on without any change
        self._lost: frozenset[str] = frozenset()  # nodes, at the last reconciliation
        self._reconciled = clock()
        self._written: dict[str, float] = {}  # uid: when its status was written last
        self._deleted: dict[str, float] = {}  # uid: since when its deletion is known
        self._gone: dict[str, float] = {}  # nodes: since when their Node is missing

    @property
    def reflectors(self) -> list[Reflector[Any]]:
        several = (self.services, self.reports, self.revisions)
        in_namespaces: list[Reflector[Any]] = [one for kind in several for one in kind.reflectors]
        return [*in_namespaces, self.members, self.nodes, self.leases]

    def run(self, stop: threading.Event) -> None:
        """Work until `stop`."""
        workloop.run(
            self.step, stop, changed=self._changed, gather=GATHER, retry=Backoff(0.2, 10.0)
        )

    def close(self) -> None:
        """Interrupt the waits of `run` and of the reflectors, after `stop` was set."""
        self._changed.set()
        for reflector in self.reflectors:
            reflector.close()

    def step(self, notified: bool = True) -> float:
        """Reconcile if anything has changed; returns the seconds until the next step."""
        if not notified and not self._pending and not self._is_due():
            return self._until_due()
        self._pending = True  # also where this step fails
        # Services of before a restore of etcd and nodes of after it must not be combined.
        if not all(one.current for one in self.reflectors):
            self._availability.reset()
            return NOT_CURRENT_EVERY
        self._pending = self.reconcile()
        return STATUS_EVERY / 4 if self._pending else self._until_due()

    def reconcile(self) -> bool:
        """Read everything and write what differs; True when something has to wait less than until the next change."""
        now = self._snapshot()
        plan = assignments.plan(now)
        problems = self._writers.each(self._prerequisites(now, plan))
        problems |= self._writers.each(
            (name, partial(self._objects.assign, now.members[name], _without(wanted, now.members[name], problems)))
            for name, wanted in plan.assignments.items()
        )  # fmt: skip
        for service in now.services.values():
            if service.deleted:
                with isolated(service.uid, problems):
                    self._remove_finalizer(now, service)
        self._delete_stale_instances(now)
        self._delete_stale_nodes(now)
        self._writers.each(
            (item.uid, partial(self._objects.delete_revision, item)) for item in history.excess(now)
        )
        advancing = {
            uid for uid, one in plan.placements.items() if one.outdated and not one.stopped
        }
        self._rollout_due = min(
            (at for (uid, _), at in now.available_at.items() if uid in advancing), default=math.inf
        )
        waits = self._write_statuses(dataclasses.replace(now, problems=problems), plan)
        self._mark_silent_nodes(now)
        return waits

    def _is_due(self) -> bool:
        """Whether time alone has changed something: a node is lost or available, a deletion may have waited long enough."""
        clock = self._clock()
        if self._deleted or self._gone or clock - self._reconciled >= RECONCILE_EVERY:
            return True
        if clock >= self._rollout_due:
            return True
        return self._lost_nodes([name for _, name in self.members.items]) != self._lost

    def _until_due(self) -> float:
        return max(0.0, min(CHECK_EVERY, self._rollout_due - self._clock()))

    def _lost_nodes(self, names: Iterable[str]) -> frozenset[str]:
        leases = {name: version for (_, name), version in self.leases.items.items()}
        versions = {name: leases.get(cluster.lease_name(name), "") for name in names}
        return self._liveness.lost(versions, versions)

    def _snapshot(self) -> Snapshot:
        services, members = self.services.items, {m.name: m for m in self.members.items.values()}
        clock = self._clock()
        self._reconciled, self._lost = clock, self._lost_nodes(members)
        deleted = {item.uid for item in services.values() if item.deleted}
        self._deleted = {uid: self._deleted.get(uid, clock) for uid in deleted}
        reports = self.reports.items
        return Snapshot(
            services=services,
            members=members,
            labels={name: labels for (_, name), labels in self.nodes.items.items()},
            reports=reports,
            revisions=self.revisions.items,
            lost=self._lost,
            unreachable=frozenset(name for name, one in members.items() if one.is_unreachable),
            available_at=self._availability.available_at(reports.values()),
            deletions_intended=not deleted or self._is_crd_kept(),
            expired=frozenset(
                uid for uid, at in self._deleted.items() if clock - at >= self._deadline
            ),
        )

    def _is_crd_kept(self) -> bool:
        """Deleting the CRD deletes all Tambourines: that is not an order to uninstall them."""
        try:
            crd = self._api.get(CRDS, f"{TAMBOURINES.plural}.{TAMBOURINES.group}")
        except TambourineError as error:
            log.warning("deletions wait: cannot read the CustomResourceDefinition: %s", error)
            return False
        if crd["metadata"].get("deletionTimestamp"):
            log.error(
                "the CustomResourceDefinition is being deleted: nothing is removed from any host"
            )
            return False
        return True

    def _prerequisites(self, now: Snapshot, plan: Plan) -> Iterator[Write]:
        """Finalizer, revision and instances exist before a node is assigned the service."""
        for service in now.services.values():
            if service.deleted or service.spec is None:
                continue
            targets = plan.placements[service.uid].targets
            if cluster.FINALIZER not in service.finalizers and targets:
                finalizers = [*service.finalizers, cluster.FINALIZER]
                yield service.uid, partial(self._objects.patch_finalizers, service, finalizers)
            if (service.namespace, service.revision) not in now.revisions and targets:
                yield service.uid, partial(self._objects.create_revision, service)
            for node in targets:
                if now.report(service, node) is None:
                    yield service.uid, partial(self._objects.create_instance, now, service, node)

    def _remove_finalizer(self, now: Snapshot, service: Service) -> None:
        """When every node has uninstalled it, is gone, or was waited for long enough."""
        if cluster.FINALIZER not in service.finalizers or not now.deletions_intended:
            return
        for member in now.members.values():
            entry = member.assignment(service.uid)
            if entry is None or member.name not in now.labels or service.uid in now.expired:
                continue
            if entry.state == cluster.INSTALLED or not member.has_acknowledged(entry):
                return
        rest = [item for item in service.finalizers if item != cluster.FINALIZER]
        try:
            self._objects.patch_finalizers(service, rest)
        except NotFound:
            return

    def _delete_stale_instances(self, now: Snapshot) -> None:
        """Instances of nodes that are not assigned the service any more."""
        by_uid = {service.uid: service for service in now.services.values()}
        for report in now.reports.values():
            service, member = by_uid.get(report.owner), now.members.get(report.node)
            if service is None or service.deleted:
                continue
            if member is None:
                if report.node not in now.labels:
                    self._objects.delete_instance(report)
                continue
            allowed = cluster.allows_namespace(member.status.namespaces, service.namespace)
            is_target = assignments.is_target(now, service, member.name)
            if member.assignment(service.uid) is None and allowed and not is_target:
                self._objects.delete_instance(report)

    def _delete_stale_nodes(self, now: Snapshot) -> None:
        """TambourineNodes whose Node is gone and whose agent is silent; a day later where a tombstone waits for the node.

        That of a live agent is kept: its kubelet may create the Node again, and its sync would create its own again.
        """
        clock = self._clock()
        gone = {name for name in now.members if name not in now.labels and name in now.lost}
        self._gone = {name: self._gone.get(name, clock) for name in gone}
        for name, since in self._gone.items():
            waits = any(item.state != cluster.INSTALLED for item in now.members[name].assignments)
            if waits and clock - since < FORGET_NODE_AFTER:
                continue
            log.info("node %s is gone: deleting its TambourineNode", name)
            self._objects.delete_node(name)

    def _write_statuses(self, now: Snapshot, plan: Plan) -> bool:
        """Write each Tambourine's status that differs, at most once a second; True when one has to wait."""
        waiting, writes = False, list[Write]()
        at, clock = timestamps.now(), self._clock()
        for service in now.services.values():
            if service.deleted:
                continue
            status = summary.summary(now, service, plan.placements.get(service.uid), at)
            if status == service.status:
                continue
            begins = not service.status and summary.is_in_progress(status)
            if begins:  # most are Ready within a second: one write then, without this one
                self._written.setdefault(service.uid, clock)
            since = clock - self._written.get(service.uid, -STATUS_EVERY)
            if since < STATUS_EVERY and (begins or service.status):
                waiting = True
                continue
            self._written[service.uid] = clock
            writes.append((service.uid, partial(self._write_status, service, status)))
        raise_first(self._writers.each(writes))
        alive = {service.uid for service in now.services.values()}
        self._written = {uid: at for uid, at in self._written.items() if uid in alive}
        return waiting

    def _write_status(self, service: Service, status: dict[str, Any]) -> None:
        if not self._objects.write_status(service, status):
            return
        about = Regarding(TAMBOURINES, service.namespace, service.name, service.uid)
        for item in statusevents.of_conditions(service.status, status):
            self._recorder.event(about, item.kind, item.reason, item.note, action="Sync")

    def _mark_silent_nodes(self, now: Snapshot) -> None:
        """Write Ready=Unknown for silent nodes and their services, and ask those that are back for all statuses."""
        back: dict[str, str] = {}
        writes: list[Write] = []
        for report in now.reports.values():
            reason = now.silence(report.node)
            if not reason:
                _note_silent_since(back, report.node, report.ready, cluster.SILENT)
            elif report.status.active_state not in {"unknown", ""}:
                writes.append((report.uid, partial(self._objects.mark_unknown, report, reason)))
        for name, member in now.members.items():
            if name not in now.lost:
                _note_silent_since(back, name, member.ready, {cluster.NODE_LOST})
            elif member.ready is not None and member.ready.reason != cluster.NODE_LOST:
                writes.append((name, partial(self._objects.mark_node_unknown, member)))
        raise_first(self._writers.each(writes))
        for name, since in back.items():
            self._objects.request_resync(now.members.get(name), since)


def _note_silent_since(
    back: dict[str, str], node: str, ready: Condition | None, reasons: Collection[str]
) -> None:
    """Since when a condition says of this node, which is not silent, that it is."""
    if ready is not None and ready.reason in reasons:
        back[node] = max(back.get(node, ""), ready.last_transition_time)


def _without(
    wanted: dict[str, cluster.Assignment], member: Member, problems: dict[str, str]
) -> dict[str, cluster.Assignment]:
    """The assignments; those whose prerequisites failed stay as they are."""
    found = {uid: item for uid, item in wanted.items() if uid not in problems}
    found |= {item.uid: item for item in member.assignments if item.uid in problems}
    return found


def _labels(item: dict[str, Any]) -> dict[str, str]:
    return item["metadata"].get("labels") or {}


def _version(item: dict[str, Any]) -> str:
    return str(item["metadata"]["resourceVersion"])
