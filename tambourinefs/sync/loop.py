"""Look at the assignments, at the silo and at the statuses; carry down, carry up. Rung by every change."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import msgspec

from tambourinefs import __version__
from tambourinefs.errors import AlreadyExists, NotFound, TambourineError, Unreachable
from tambourinefs.kube.api import Api
from tambourinefs.kube.backoff import Backoff
from tambourinefs.kube.events import Recorder, Regarding
from tambourinefs.kube.reflector import Reflector
from tambourinefs.kube.resources import INSTANCES, NODES, REVISIONS
from tambourinefs.model import cluster, fields, manifest, schema, statusevents
from tambourinefs.model.cluster import Assignment, Content
from tambourinefs.model.names import NamespacedName
from tambourinefs.model.status import Condition, StatusReport
from tambourinefs.sync import downward, health, upward
from tambourinefs.sync.host import Host
from tambourinefs.sync.upward import Written

log = logging.getLogger(__name__)
LOOK_EVERY: Final = 30.0  # seconds: a bell that was missed costs no more
GATHER: Final = 0.05
AGAIN: Final = 1.0  # seconds until what had to wait is looked at again
AWAY_AFTER: Final = (
    10.0  # seconds without an answer of the host: its daemons restart within them, untold
)
MAX_REVISIONS: Final = 512  # kept in memory


class Sync:
    """One node's worker, its reflector and what it remembers."""

    def __init__(
        self,
        api: Api,
        recorder: Recorder,
        host: Host,
        node: str,
        namespaces: tuple[str, ...],
        boot_id: str,
        clock: Callable[[], float] = time.monotonic,
        identity: Callable[[], str] = lambda: "",
        certificates: Callable[[], str] = lambda: "",
    ) -> None:
        """`identity`: why this node's identity cannot be renewed, "" while it can; `certificates`: which of Bombshell's end
        soon, "" while none does.
        """
        self._api = api
        self._recorder = recorder
        self._host = host
        self._node = node
        self._namespaces = namespaces
        self._boot_id = boot_id
        self._clock = clock
        self._identity = identity
        self._certificates = certificates
        self.bell = threading.Event()
        self.mine = Reflector(api, NODES, project=_node, bell=self.bell.set, name=node)
        self._contents: dict[tuple[str, str], Content] = {}  # (namespace, revision)
        self._written: dict[NamespacedName, Written] = {}
        self._said: dict[str, Any] = {}  # our TambourineNode's status
        self._asked = ""  # when the controller wanted all statuses anew
        self._away_since: float | None = (
            None  # when Bombshell or the agent did not answer for the first time
        )

    def forget(self) -> None:
        """The API server was away, or we were: what it holds may be another's word."""
        self._written.clear()
        self._said = {}
        self.bell.set()

    def run(self, stop: threading.Event) -> None:
        """Work until `stop`."""
        backoff = Backoff(0.2, 15.0)
        wait = LOOK_EVERY
        while not stop.is_set():
            self.bell.wait(wait)
            self.bell.clear()
            if stop.wait(GATHER):
                return
            try:
                wait = AGAIN if self.look() else LOOK_EVERY
                backoff.reset()
            except TambourineError as error:
                log.warning("%s", error)
                wait = 0.0
                stop.wait(backoff.next())

    def look(self) -> bool:
        """One look; True when something waits for what rings no bell here."""
        if not self.mine.synced.is_set():
            return True
        node = self.mine.get(("", self._node))
        if node is None:
            self._introduce()
            return True
        asked = node.metadata.annotations.get(cluster.RESYNC_REQUESTED_AT, "")
        if asked != self._asked:
            self._asked = asked
            self.forget()
        try:
            held, reports = self._host.held(), self._host.reports()
        except TambourineError as error:
            self._say_away(node, str(error))
            raise
        if self._is_away():
            self._written.clear()  # the controller took our word back
        self._away_since = None
        orders = downward.orders(node.spec.assignments, held, reports, self._namespaces)
        waits = self._carry_down(orders)
        waits |= self._carry_up(node, reports, orders.refused)
        self._speak(node, orders)
        return waits

    def _introduce(self) -> None:
        """Make our TambourineNode, empty. Deleted while we run, it is made again; nothing on the host is removed."""
        item = {
            "apiVersion": schema.API_VERSION,
            "kind": cluster.NODE_KIND,
            "metadata": {"name": self._node},
        }
        self._said = {}
        try:
            self.mine.learn(self._api.create(NODES, item))
        except AlreadyExists:
            return

    def _carry_down(self, orders: downward.Orders) -> bool:
        waits = False
        for key in orders.remove:
            log.info("removing %s/%s", *key)
            with _alone(key, orders.refused):
                self._host.remove(key)
            waits = True
        for item in orders.rewrite:
            with _alone((item.metadata.namespace, item.metadata.name), orders.refused):
                self._host.write(item)
            waits = True
        for assignment in orders.install:
            with _alone((assignment.namespace, assignment.name), orders.refused):
                waits |= not self._install(assignment)
        return waits

    def _install(self, item: Assignment) -> bool:
        """False: its revision is not there yet."""
        content = self._content(item)
        if content is None:
            return False
        self._host.write(cluster.manifest_of(item, content))
        log.info("wrote %s/%s generation %d", item.namespace, item.name, item.generation)
        return True

    def _content(self, item: Assignment) -> Content | None:
        """The revision's content, once read and checked against its digest; None while it cannot be had."""
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
            log.error("revision %s: %s", item.revision, error)  # noqa: TRY400 (their data, no trace)
            return None
        content = revision.spec.content
        made = cluster.manifest_of(item, content)
        if manifest.content_digest(made) != item.digest:
            log.error("revision %s has not the digest that the assignment says", item.revision)
            return None
        if len(self._contents) >= MAX_REVISIONS:
            self._contents.clear()
        self._contents[key] = content
        return content

    def _carry_up(
        self,
        node: cluster.Node,
        reports: dict[NamespacedName, StatusReport],
        problems: dict[NamespacedName, str],
    ) -> bool:
        waits = False
        for item in node.spec.assignments:
            key = (item.namespace, item.name)
            report = reports.get(key)
            if report is None or report.uid != item.uid or item.state != cluster.INSTALLED:
                self._written.pop(key, None)
                continue
            with _alone(key, problems):
                waits |= self._report(item, report)
        return waits

    def _report(self, item: Assignment, report: StatusReport) -> bool:
        """Write one instance's status where it is due; True when it must wait."""
        key, now = (item.namespace, item.name), self._clock()
        failed = report.active_state == "failed" or report.reason
        journal = self._host.journal(key) if failed else ()
        current = report.observed_generation >= item.generation
        status = upward.status_of(report, journal, item.revision if current else "")
        before, memory = self._written.get(key), report.memory_current or 0
        if not upward.is_due(before, status, memory, now):
            return False
        if not upward.may_write(before, now):
            return True
        name = cluster.instance_name(item.name, self._node)
        metadata = {"name": name, "namespace": item.namespace}
        try:
            answer = self._api.apply_status(INSTANCES, metadata, status, manager=cluster.SYNC)
        except NotFound:  # the controller makes it
            return True
        self._written[key] = upward.written(before, status, now, memory)
        if before is not None:
            uid = answer["metadata"]["uid"]
            self._announce(Regarding(INSTANCES, item.namespace, name, uid), before.status, status)
        return False

    def _announce(self, about: Regarding, before: dict[str, Any], after: dict[str, Any]) -> None:
        for item in (
            *statusevents.of_command(before, after),
            *statusevents.of_conditions(before, after),
        ):
            self._recorder.event(about, item.kind, item.reason, item.note, action="Report")

    def _speak(self, node: cluster.Node, orders: downward.Orders) -> None:
        """Our TambourineNode's status."""
        status = cluster.NodeStatus(
            version=__version__,
            namespaces=tuple(name for name in self._namespaces if name != "local"),
            fields=fields.known(),  # the controller withholds others from us
            boot_id=self._boot_id,
            observed_generation=node.metadata.generation,
            acknowledged=orders.acknowledged,
            unlisted=orders.unlisted,
            conditions=self._conditions(node, orders.refused),
        )
        self._say(status)

    def _say_away(self, node: cluster.Node, why: str) -> None:
        """Bombshell or the agent does not answer: what was said of services is of before. The rest stays as it was said."""
        if self._away_since is None:
            self._away_since = self._clock()
        if self._is_away():
            conditions = self._conditions(node, {}, host=why)
            self._say(msgspec.structs.replace(node.status, conditions=conditions))

    def _is_away(self) -> bool:
        """Whether it has not answered for so long that we said so."""
        return self._away_since is not None and self._clock() - self._away_since >= AWAY_AFTER

    def _conditions(
        self, node: cluster.Node, refused: dict[NamespacedName, str], host: str = ""
    ) -> tuple[Condition, ...]:
        return health.conditions(
            node,
            refused,
            host=host,
            identity=self._identity(),
            certificates=self._certificates(),
            clock=self._api.clock.problem,
        )

    def _say(self, status: cluster.NodeStatus) -> None:
        """Where it differs from what was said last."""
        wanted = cluster.to_dict(status)
        if wanted == self._said:
            return
        self._api.apply_status(NODES, {"name": self._node}, wanted, manager=cluster.SYNC)
        self._said = wanted


@contextmanager
def _alone(key: NamespacedName, problems: dict[NamespacedName, str]) -> Iterator[None]:
    """What one service is refused (a full silo, a status that the API server does not take) holds up no other, nor our
    word of what is done; it is tried again at the next look. Somebody who is away holds up all.
    """
    try:
        yield
    except Unreachable:
        raise
    except TambourineError as error:
        log.warning("%s/%s: %s", *key, error)
        problems[key] = str(error)


def _node(item: dict[str, Any]) -> cluster.Node | None:
    try:
        return msgspec.convert(item, cluster.Node)
    except msgspec.ValidationError as error:
        log.error("our TambourineNode cannot be read: %s", error)  # noqa: TRY400 (their data)
        return None
