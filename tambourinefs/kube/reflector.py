"""The objects of one kind in memory: list, then watch, and list again when something may be missing.

Objects are projected when they arrive: of 20,000 only what is needed stays in memory. A list that fails changes nothing:
a missing answer must not look like a missing object.

Why not the kubernetes client's Watch: docs/decisions/017-kubernetes-client.md.
"""

from __future__ import annotations

import contextlib
import logging
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final, Generic, TypeVar
from urllib.parse import urlencode

import msgspec
import urllib3

from tambourinefs.errors import TambourineError, Unreachable
from tambourinefs.kube import errors
from tambourinefs.kube.api import Api, Object, selectors
from tambourinefs.kube.resources import Resource
from tambourinefs.kube.workloop import Backoff
from tambourinefs.model.names import NamespacedName

T = TypeVar("T")
WATCH_SECONDS: Final = (300, 600)  # how long one watch lasts; the API server ends it
QUIET_SECONDS: Final = (
    90.0  # without a byte; bookmarks come only with changes, so it may be idle or dead
)
MAX_LINE: Final = 4 << 20  # bytes of one event
STABLE_SECONDS: Final = 60.0  # a list and watch that lasted so long reset the backoff
log = logging.getLogger(__name__)


class Reflector(Generic[T]):
    """`run` in a thread of its own; read `items` from any. Sets `changed` after each list, change and failure."""

    def __init__(
        self,
        api: Api,
        resource: Resource,
        *,
        project: Callable[[Object], T | None],
        changed: threading.Event | None = None,
        namespace: str = "",
        name: str = "",
        field_selector: str = "",
        max_backoff: float = 30.0,
    ) -> None:
        """`project` returns what is kept of an object, None to keep nothing. `name`: watch that object alone.
        `max_backoff`: seconds between two attempts, at most.
        """
        self._api = api
        self._resource = resource
        self._namespace = namespace
        self._name = name
        self._fields = field_selector
        self._project = project
        self._changed = changed or threading.Event()
        self._max_backoff = max_backoff
        self._items: dict[NamespacedName, T] = {}
        self._version = 0  # list and watch have delivered everything up to this resourceVersion
        self._lock = threading.Lock()
        self._answer: urllib3.BaseHTTPResponse | None = None
        self.synced = threading.Event()  # a whole list has been read once
        self.error = ""  # why the last list or watch failed; "" after a success
        self.last_contact = time.monotonic()  # when the API server last sent something

    @property
    def current(self) -> bool:
        """Whether `items` is of the API server that answered last. False from a failure to the next whole list: the next
        server may have another history (etcd restored from a backup), and other reflectors may have read it already.
        """
        return self.synced.is_set() and not self.error

    @property
    def items(self) -> dict[NamespacedName, T]:
        """A snapshot."""
        with self._lock:
            return dict(self._items)

    def get(self, key: NamespacedName) -> T | None:
        with self._lock:
            return self._items.get(key)

    def record_write(self, item: Object) -> None:
        """Keep the answer to a write before the watch delivers it.

        Ignored where the watch is past it: it may have delivered a later write or the deletion, and would not again.
        """
        with self._lock:
            if not 0 < _number(item["metadata"].get("resourceVersion")) <= self._version:
                self._keep(self._items, item)

    def run(self, stop: threading.Event) -> None:
        """List and watch until `stop`; ends within some seconds of it (at once with `close` after it)."""
        backoff = Backoff(0.2, self._max_backoff)
        while not stop.is_set():
            started, retry_after = time.monotonic(), 0.0
            try:
                version = self._list()
                while not stop.is_set():
                    version = self._watch(version, stop)
                    backoff.reset()
            except errors.Gone:
                self.error = ""
            except TambourineError as error:
                # 429 is not a failure: after each change of a CRD the API server fills its watch cache again, and answers
                # "storage is (re)initializing" meanwhile.
                level = logging.WARNING
                if isinstance(error, errors.Throttled):
                    level, retry_after = logging.INFO, min(error.retry_after, self._max_backoff)
                if not stop.is_set() and str(error) != self.error:
                    log.log(level, "%s: %s", self._resource.plural, error)
                self.error = str(error)
                self._changed.set()
            # Also after 410: a server may answer it again and again.
            wait = max(backoff.next(), retry_after)
            if time.monotonic() - started > STABLE_SECONDS:
                backoff.reset()
            stop.wait(wait)

    def close(self) -> None:
        """Interrupt a watch that waits, after `stop` was set."""
        answer = self._answer
        if answer is not None:
            with contextlib.suppress(ValueError, OSError):  # it has just ended
                answer.shutdown()

    def _list(self) -> str:
        found: dict[NamespacedName, T] = {}
        version = ""
        pages = self._api.list_pages(
            self._resource, self._namespace, name=self._name, field_selector=self._fields
        )
        for page in pages:
            for item in page.items:
                self._keep(found, item)
            version = page.resource_version
            self.last_contact = time.monotonic()
        with self._lock:
            self._items = found
            self._version = _number(version)
        self.error = ""
        self.synced.set()
        self._changed.set()
        return version

    def _keep(self, items: dict[NamespacedName, T], item: Object) -> None:
        key = _key(item)
        kept = self._project(item)
        if kept is None:
            items.pop(key, None)
        else:
            items[key] = kept

    def _watch(self, version: str, stop: threading.Event) -> str:
        """Follow changes until the API server ends the watch; returns the version to go on from."""
        seconds = random.randint(*WATCH_SECONDS)  # noqa: S311 (jitter, no secret)
        started = time.monotonic()
        query = selectors(self._name, "", self._fields) | {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
            "timeoutSeconds": str(seconds),
        }
        path = f"{self._resource.path(self._namespace)}?{urlencode(query)}"
        answer = self._api.stream(path, QUIET_SECONDS)
        self._answer = answer
        self.last_contact = time.monotonic()
        quiet = False
        try:
            if stop.is_set():  # `close` had no answer to interrupt yet
                return version
            for line in _lines(answer):
                self.last_contact = time.monotonic()
                self.error = ""
                version = self._event(line) or version
                if stop.is_set():
                    break
        except urllib3.exceptions.ReadTimeoutError:
            quiet = True  # or dead: go on from there on another connection
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise Unreachable(f"watch of {self._resource.plural} was cut off: {error}") from error
        finally:
            self._answer = None
            answer.close()
        if not quiet and not stop.is_set() and time.monotonic() - started < seconds - 1:
            # The next server may have another history (a restored etcd) and would wait for this version.
            raise Unreachable(f"watch of {self._resource.plural} ended early")
        return version

    def _event(self, line: bytes) -> str:
        try:
            event = msgspec.json.decode(line)
            kind, item = event["type"], event["object"]
            if kind == "ERROR":
                raise errors.from_status(item, f"watch of {self._resource.plural}")
            version = str(item["metadata"]["resourceVersion"])
        except (msgspec.DecodeError, KeyError, TypeError) as error:
            raise Unreachable(f"watch of {self._resource.plural}: not an event: {error}") from error
        with self._lock:
            self._version = max(self._version, _number(version))
            if kind in {"ADDED", "MODIFIED"}:
                self._keep(self._items, item)
            elif kind == "DELETED":
                self._items.pop(_key(item), None)
        if kind != "BOOKMARK":
            self._changed.set()
        return version


def _number(version: object) -> int:
    """Versions of one kind can be compared (Kubernetes: "Resource versions"); 0 for one that is not a number."""
    text = str(version)
    return int(text) if text.isascii() and text.isdigit() else 0


def _key(item: Object) -> NamespacedName:
    metadata = item["metadata"]
    return metadata.get("namespace", ""), metadata["name"]


def _lines(answer: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
    """The events of a watch: one JSON object a line."""
    rest = b""
    while True:
        chunk = answer.read1(1 << 16)
        if not chunk:
            return
        *lines, rest = (rest + chunk).split(b"\n")
        if len(rest) > MAX_LINE:
            raise Unreachable("an event of the API server is larger than 4 MiB")
        yield from (line for line in lines if line)


class NamespacedReflector(Generic[T]):
    """One kind in several namespaces: a watch covers one namespace or all, so there is a reflector for each."""

    def __init__(
        self,
        api: Api,
        resource: Resource,
        namespaces: Sequence[str],
        *,
        project: Callable[[Object], T | None],
        changed: threading.Event,
        max_backoff: float,
    ) -> None:
        """`namespaces`: empty for all. The rest is the Reflector's."""
        self._parts = {
            namespace: Reflector(
                api,
                resource,
                project=project,
                changed=changed,
                namespace=namespace,
                max_backoff=max_backoff,
            )
            for namespace in namespaces or ("",)
        }

    @property
    def reflectors(self) -> list[Reflector[T]]:
        return list(self._parts.values())

    @property
    def items(self) -> dict[NamespacedName, T]:
        """A snapshot."""
        if (whole := self._parts.get("")) is not None:
            return whole.items
        return {key: item for part in self._parts.values() for key, item in part.items.items()}

    def record_write(self, item: Object) -> None:
        """As a Reflector does; ignored for a namespace that is not watched."""
        part = self._parts.get("") or self._parts.get(item["metadata"]["namespace"])
        if part is not None:
            part.record_write(item)
