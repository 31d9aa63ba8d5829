"""Events (events.k8s.io/v1), for `kubectl describe`. Hints, never state: an event that cannot be written is dropped, and
a repeated one raises the count of its series instead of creating another object.
"""

from __future__ import annotations

import hashlib
import logging
import queue
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal

from tambourinefs.errors import AlreadyExists, NotFound, TambourineError
from tambourinefs.kube.api import Api
from tambourinefs.kube.resources import EVENTS, Resource
from tambourinefs.timestamps import now_micro

log = logging.getLogger(__name__)
MAX_NOTE: Final = 1024  # bytes (API: events.k8s.io/v1, Event.note)
WAITING: Final = 64  # events that may wait to be written
KNOWN: Final = 512  # events that may still become a series
BURST: Final = 20  # of one object, then one every REFILL seconds
REFILL: Final = 30.0
SERIES_EVERY: Final = 10.0  # seconds between two counts of one event


@dataclass(frozen=True, slots=True)
class Regarding:
    """The object that an event is about."""

    resource: Resource
    namespace: str
    name: str
    uid: str

    def reference(self) -> dict[str, str]:
        return {
            "apiVersion": self.resource.api_version,
            "kind": self.resource.kind,
            "namespace": self.namespace,
            "name": self.name,
            "uid": self.uid,
        }


@dataclass(frozen=True, slots=True)
class _Event:
    regarding: Regarding
    kind: Literal["Normal", "Warning"]
    reason: str  # UpperCamelCase
    action: str
    note: str
    at: str

    def name(self, instance: str) -> str:
        """A DNS subdomain; equal events have equal names."""
        identity = (self.regarding.uid, self.kind, self.reason, self.note, instance)
        digest = hashlib.sha256(repr(identity).encode()).hexdigest()[:16]
        return f"{self.regarding.name[:230].rstrip('-.')}.{digest}"


class Recorder:
    """`event` never waits and never raises; `run`, in a thread of its own, writes."""

    def __init__(
        self,
        api: Api,
        controller: str,
        instance: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`controller`: reportingController, such as `tambourine.dev/sync`; `instance`: reportingInstance."""
        self._api = api
        self._controller = controller
        self._instance = instance[:128]
        self._clock = clock
        self._queue: queue.Queue[_Event | None] = queue.Queue(WAITING)
        self._counts: OrderedDict[str, tuple[int, float]] = OrderedDict()  # name: count, written
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # uid: left, when

    def event(
        self,
        regarding: Regarding,
        kind: Literal["Normal", "Warning"],
        reason: str,
        note: str,
        *,
        action: str = "",
    ) -> None:
        """Queue an event of this moment; dropped while WAITING others are queued."""
        cut = note.encode()[:MAX_NOTE].decode(errors="ignore")
        try:
            self._queue.put_nowait(
                _Event(regarding, kind, reason, action or reason, cut, now_micro())
            )
        except queue.Full:
            log.debug("event dropped: %s %s", reason, regarding.name)

    def run(self, stop: threading.Event) -> None:
        """Write queued events until `stop`; `close` wakes it."""
        while not stop.is_set():
            item = self._queue.get()
            if item is None:
                return
            try:
                self._write(item)
            except TambourineError as error:
                log.info("event not written: %s", error)

    def close(self) -> None:
        """End `run`, whatever is still queued."""
        while True:
            try:
                self._queue.put_nowait(None)
            except queue.Full:
                self._queue.get_nowait()
            else:
                return

    def _write(self, item: _Event) -> None:
        name, now = item.name(self._instance), self._clock()
        count, written = self._counts.get(name, (0, 0.0))
        if count and now - written < SERIES_EVERY:
            self._remember(name, count + 1, written)
            return
        if not self._allowed(item.regarding.uid, now):
            return
        namespace = item.regarding.namespace or "default"
        if count:
            series = {"series": {"count": count + 1, "lastObservedTime": item.at}}
            try:
                self._api.merge(EVENTS, name, namespace, series)
            except NotFound:  # they are kept for an hour
                count = 0
        if not count:
            self._create(item, name, namespace)
        self._remember(name, count + 1, now)

    def _create(self, item: _Event, name: str, namespace: str) -> None:
        body: dict[str, Any] = {
            "apiVersion": EVENTS.api_version,
            "kind": EVENTS.kind,
            "metadata": {"name": name, "namespace": namespace},
            "eventTime": item.at,
            "reportingController": self._controller,
            "reportingInstance": self._instance,
            "action": item.action,
            "reason": item.reason,
            "regarding": item.regarding.reference(),
            "type": item.kind,
            "note": item.note,
        }
        try:
            self._api.create(EVENTS, body)
        except AlreadyExists:  # written before this process started
            series = {"series": {"count": 2, "lastObservedTime": item.at}}
            self._api.merge(EVENTS, name, namespace, series)

    def _remember(self, name: str, count: int, written: float) -> None:
        self._counts[name] = (count, written)
        self._counts.move_to_end(name)
        if len(self._counts) > KNOWN:
            self._counts.popitem(last=False)

    def _allowed(self, uid: str, now: float) -> bool:
        left, when = self._buckets.get(uid, (float(BURST), now))
        left = min(float(BURST), left + (now - when) / REFILL)
        self._buckets[uid] = (max(0.0, left - 1), now)
        self._buckets.move_to_end(uid)
        if len(self._buckets) > KNOWN:
            self._buckets.popitem(last=False)
        return left >= 1
