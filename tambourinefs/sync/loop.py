"""The worker of one node: reads assignments, silo and statuses, then writes what differs down and up."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any, Final

import msgspec

from tambourinefs import __version__
from tambourinefs.errors import AlreadyExists, NotFound, TambourineError
from tambourinefs.kube import workloop
from tambourinefs.kube.api import Api
from tambourinefs.kube.events import Recorder, Regarding
from tambourinefs.kube.reflector import Reflector
from tambourinefs.kube.resources import INSTANCES, NODES, REVISIONS
from tambourinefs.kube.workloop import Backoff, isolated
from tambourinefs.model import cluster, fields, manifest, schema, statusevents
from tambourinefs.model.cluster import Assignment, Content
from tambourinefs.model.names import NamespacedName
from tambourinefs.model.status import Condition, StatusReport
from tambourinefs.sync import instance_status, node_conditions
from tambourinefs.sync.host import HostClient
from tambourinefs.sync.instance_status import Written
from tambourinefs.sync.silo_changes import SiloChanges, silo_changes

log = logging.getLogger(__name__)
RESYNC_EVERY: Final = 30.0  # seconds: the longest delay that a missed notification costs
GATHER: Final = 0.05  # seconds in which changes are gathered into one step
RETRY_AFTER: Final = 1.0  # seconds until what had to wait is tried again
UNREACHABLE_AFTER: Final = (
    10.0  # seconds without an answer of the host: a restart of its daemons is shorter
)
MAX_REVISIONS: Final = 512  # kept in memory


class Sync:
    """One node's worker and its reflector."""

    def __init__(
        self,
        api: Api,
        recorder: Recorder,
        host: HostClient,
        node: str,
        namespaces: tuple[str, ...],
        boot_id: str,
        changed: threading.Event | None = None,
        clock: Callable[[], float] = time.monotonic,
        identity: Callable[[], str] = lambda: "",
        certificates: Callable[[], str] = lambda: "",
    ) -> None:
        """`changed` wakes the worker. `identity` and `certificates` return why they cannot be renewed, or ""."""
        self._api = api
        self._recorder = recorder
        self._host = host
        self._node = node
        self._namespaces = namespaces
        self._boot_id = boot_id
        self._changed = changed or threading.Event()
        self._clock = clock
        self._identity = identity
        self._certificates = certificates
        self.node = Reflector(api, NODES, project=_node, changed=self._changed, name=node)
        self._contents: dict[NamespacedName, Content] = {}  # of revisions
        self._written: dict[NamespacedName, Written] = {}
        self._node_status: dict[str, Any] = {}  # as it was written last
        self._resync_requested_at = ""  # the annotation that was acted on
        self._unreachable_since: float | None = None  # since when Bombshell or the agent is silent

    def resync(self) -> None:
        """Write all statuses again: the controller may have replaced them."""
        self._written.clear()
        self._node_status = {}
        self._changed.set()

    def run(self, stop: threading.Event) -> None:
        """Work until `stop`."""
        workloop.run(
            lambda _: self.step(), stop, changed=self._changed, gather=GATHER, retry=Backoff(0.2, 15.0)
        )  # fmt: skip

    def step(self) -> float:
        """Read everything and write what differs; returns the seconds until the next step."""
        if not self.node.synced.is_set():
            return RETRY_AFTER
        node = self.node.get(("", self._node))
        if node is None:
            self._create_node()
            return RETRY_AFTER
        requested_at = node.metadata.annotations.get(cluster.RESYNC_REQUESTED_AT, "")
        if requested_at != self._resync_requested_at:
            self._resync_requested_at = requested_at
            self.resync()
        try:
            manifests, reports = self._host.manifests(), self._host.reports()
        except TambourineError as error:
            self._write_unreachable(node, str(error))
            raise
        if self._is_unreachable():
            self._written.clear()  # the controller has replaced these statuses
        self._unreachable_since = None
        changes = silo_changes(node.spec.assignments, manifests, reports, self._namespaces)
        waits = self._change_silo(changes)
        waits |= self._write_instances(node, reports, changes.refused)
        self._write_node(node, changes)
        return RETRY_AFTER if waits else RESYNC_EVERY

    def _create_node(self) -> None:
        """Create an empty TambourineNode, also after it was deleted; nothing is removed from the host."""
        item = {
            "apiVersion": schema.API_VERSION,
            "kind": cluster.NODE_KIND,
            "metadata": {"name": self._node},
        }
        self._node_status = {}
        try:
            self.node.record_write(self._api.create(NODES, item))
        except AlreadyExists:
            return

    def _change_silo(self, changes: SiloChanges) -> bool:
        """Whether something has to wait."""
        waits = False
        for key in changes.remove:
            log.info("removing %s/%s", *key)
            with isolated(key, changes.refused):
                self._host.remove(key)
            waits = True
        for item in changes.rewrite:
            with isolated((item.metadata.namespace, item.metadata.name), changes.refused):
                self._host.write(item)
            waits = True
        for assignment in changes.install:
            with isolated(assignment.key, changes.refused):
                waits |= not self._install(assignment)
        return waits

    def _install(self, item: Assignment) -> bool:
        """False: its revision cannot be read yet."""
        content = self._content(item)
        if content is None:
            return False
        self._host.write(cluster.manifest_of(item, content))
        log.info("wrote %s/%s generation %d", item.namespace, item.name, item.generation)
        return True

    def _content(self, item: Assignment) -> Content | None:
        """The revision's content, checked against the assignment's digest; None while it cannot be read."""
        key = (item.namespace, item.revision)
        if key in self._contents:
            return self._contents[key]
        try:
            found = self._api.get(REVISIONS, item.revision, item.namespace)
        except NotFound as error:
            log.warning("%s", error)
            return None
        try:
            revision = msgspec.convert(found, cluster.Revision)
        except msgspec.ValidationError as error:
            log.error("revision %s: %s", item.revision, error)  # noqa: TRY400 (remote data, no traceback)
            return None
        content = revision.spec.content
        made = cluster.manifest_of(item, content)
        if manifest.content_digest(made) != item.digest:
            log.error("revision %s does not match the digest of its assignment", item.revision)
            return None
        if len(self._contents) >= MAX_REVISIONS:
            self._contents.clear()
        self._contents[key] = content
        return content

    def _write_instances(
        self,
        node: cluster.Node,
        reports: dict[NamespacedName, StatusReport],
        problems: dict[NamespacedName, str],
    ) -> bool:
        waits = False
        for item in node.spec.assignments:
            report = reports.get(item.key)
            if report is None or report.uid != item.uid or item.state != cluster.INSTALLED:
                self._written.pop(item.key, None)
                continue
            with isolated(item.key, problems):
                waits |= self._write_instance(item, report)
        return waits

    def _write_instance(self, item: Assignment, report: StatusReport) -> bool:
        """Write one instance's status where that is due; True when it has to wait."""
        key, now = item.key, self._clock()
        failed = report.active_state == "failed" or report.reason
        journal = self._host.journal(key) if failed else ()
        current = report.observed_generation >= item.generation
        status = instance_status.status_of(report, journal, item.revision if current else "")
        before, memory = self._written.get(key), report.memory_current or 0
        if not instance_status.is_due(before, status, memory, now):
            return False
        if not instance_status.may_write(before, now):
            return True
        name = cluster.instance_name(item.name, self._node)
        metadata = {"name": name, "namespace": item.namespace}
        try:
            answer = self._api.apply_status(INSTANCES, metadata, status, manager=cluster.SYNC)
        except NotFound:  # the controller makes it
            return True
        self._written[key] = instance_status.written(before, status, now, memory)
        if before is not None:
            uid = answer["metadata"]["uid"]
            self._record_events(
                Regarding(INSTANCES, item.namespace, name, uid), before.status, status
            )
        return False

    def _record_events(
        self, about: Regarding, before: dict[str, Any], after: dict[str, Any]
    ) -> None:
        for item in (
            *statusevents.of_command(before, after),
            *statusevents.of_conditions(before, after),
        ):
            self._recorder.event(about, item.kind, item.reason, item.note, action="Report")

    def _write_node(self, node: cluster.Node, changes: SiloChanges) -> None:
        status = cluster.NodeStatus(
            version=__version__,
            namespaces=tuple(name for name in self._namespaces if name != "local"),
            fields=fields.known(),  # the controller assigns no others
            boot_id=self._boot_id,
            observed_generation=node.metadata.generation,
            acknowledged=changes.acknowledged,
            unlisted=changes.unlisted,
            conditions=self._conditions(node, changes.refused),
        )
        self._apply_node_status(status)

    def _write_unreachable(self, node: cluster.Node, why: str) -> None:
        """Bombshell or the agent does not answer: set the conditions, and keep the rest of the status."""
        if self._unreachable_since is None:
            self._unreachable_since = self._clock()
        if self._is_unreachable():
            conditions = self._conditions(node, {}, host=why)
            self._apply_node_status(msgspec.structs.replace(node.status, conditions=conditions))

    def _is_unreachable(self) -> bool:
        """Whether it has been silent for so long that the condition says so."""
        return (
            self._unreachable_since is not None
            and self._clock() - self._unreachable_since >= UNREACHABLE_AFTER
        )

    def _conditions(
        self, node: cluster.Node, refused: dict[NamespacedName, str], host: str = ""
    ) -> tuple[Condition, ...]:
        return node_conditions.conditions(
            node,
            refused,
            host=host,
            identity=self._identity(),
            certificates=self._certificates(),
            clock=self._api.clock.problem,
        )

    def _apply_node_status(self, status: cluster.NodeStatus) -> None:
        """Where it differs from what was written last."""
        wanted = cluster.to_dict(status)
        if wanted == self._node_status:
            return
        self._api.apply_status(NODES, {"name": self._node}, wanted, manager=cluster.SYNC)
        self._node_status = wanted


def _node(item: dict[str, Any]) -> cluster.Node | None:
    try:
        return msgspec.convert(item, cluster.Node)
    except msgspec.ValidationError as error:
        log.error("cannot read this node's TambourineNode: %s", error)  # noqa: TRY400 (remote data)
        return None
