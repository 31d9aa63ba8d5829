"""What the API server holds of one kind, kept in memory: list, then watch, and list again when something may be missing.

Objects are projected when they arrive: of 20,000 only what is needed stays in memory. A list that fails changes nothing:
absence is no order.
"""

from __future__ import annotations

import contextlib
import logging
import random
import threading
import time
from collections.abc import Callable, Iterator
from typing import Final, Generic, TypeVar
from urllib.parse import urlencode

import msgspec
import urllib3

from tambourinefs.errors import TambourineError, Unreachable
from tambourinefs.kube import errors
from tambourinefs.kube.api import Api, Object, selectors
from tambourinefs.kube.backoff import Backoff
from tambourinefs.kube.resources import Resource
from tambourinefs.model.names import NamespacedName

T = TypeVar("T")
WATCH_SECONDS: Final = (300, 600)  # how long one watch lasts; the API server ends it
QUIET_SECONDS: Final = (
    90.0  # without a word (bookmarks come only with changes): is the connection dead?
)
MAX_LINE: Final = 4 << 20  # bytes of one event
log = logging.getLogger(__name__)


class Reflector(Generic[T]):
    """`run` in a thread of its own; read `items` from any. `bell` is rung after each change (and after a list)."""

    def __init__(
        self,
        api: Api,
        resource: Resource,
        *,
        project: Callable[[Object], T | None],
        bell: Callable[[], None],
        namespace: str = "",
        name: str = "",
        field_selector: str = "",
        patience: float = 30.0,
    ) -> None:
        """`project` makes of an object what is kept; None keeps nothing of it. `name`: watch that one alone. `patience`:
        seconds between two tries, at most.
        """
        self._api = api
        self._resource = resource
        self._namespace = namespace
        self._name = name
        self._fields = field_selector
        self._project = project
        self._bell = bell
        self._patience = patience
        self._items: dict[NamespacedName, T] = {}
        self._seen = 0  # the version up to which list and watch have told everything
        self._lock = threading.Lock()
        self._answer: urllib3.BaseHTTPResponse | None = None
        self.synced = threading.Event()  # a whole list has been read once
        self.error = ""  # why the last list or watch failed; "" while all is well
        self.contact = time.monotonic()  # when the API server last said something

    @property
    def current(self) -> bool:
        """Whether it holds what the API server has that answered last. Not after a failure, until a whole list is there:
        whoever answers next may have another history, and others of our reflectors may have it already.
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

    def learn(self, item: Object) -> None:
        """Keep what a write of ours was answered with; the watch brings it again later.

        Not where the watch is past it: it may have told of a later write, or of the deletion, and would not again.
        """
        with self._lock:
            if not 0 < _number(item["metadata"].get("resourceVersion")) <= self._seen:
                self._keep(self._items, item)

    def run(self, stop: threading.Event) -> None:
        """List and watch until `stop`; ends within some seconds of it (at once with `close` after it)."""
        backoff = Backoff(0.2, self._patience)
        while not stop.is_set():
            begun = time.monotonic()
            retry_after = 0.0
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
                    level, retry_after = logging.INFO, min(error.retry_after, self._patience)
                if not stop.is_set() and str(error) != self.error:
                    log.log(level, "%s: %s", self._resource.plural, error)
                self.error = str(error)
                self._bell()
            # also after 410: a server that says it again and again is not asked without a pause
            wait = max(backoff.next(), retry_after)
            if time.monotonic() - begun > 60:
                backoff.reset()
            stop.wait(wait)

    def close(self) -> None:
        """End a watch that waits: `run` then sees its `stop`."""
        answer = self._answer
        if answer is not None:
            with contextlib.suppress(ValueError, OSError):  # it has just ended by itself
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
            self.contact = time.monotonic()
        with self._lock:
            self._items = found
            self._seen = _number(version)
        self.error = ""
        self.synced.set()
        self._bell()
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
        begun = time.monotonic()
        query = selectors(self._name, "", self._fields) | {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
            "timeoutSeconds": str(seconds),
        }
        path = f"{self._resource.path(self._namespace)}?{urlencode(query)}"
        answer = self._api.stream(path, QUIET_SECONDS)
        self._answer = answer
        self.contact = time.monotonic()
        quiet = False
        try:
            if stop.is_set():  # `close` came while there was no answer yet to shut down
                return version
            for line in _lines(answer):
                self.contact = time.monotonic()
                self.error = ""
                version = self._event(line) or version
                if stop.is_set():
                    break
        except urllib3.exceptions.ReadTimeoutError:
            quiet = True  # or dead: ask again from there on another connection
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise Unreachable(f"watch of {self._resource.plural} was cut: {error}") from error
        finally:
            self._answer = None
            answer.close()
        if not quiet and not stop.is_set() and time.monotonic() - begun < seconds - 1:
            # Whoever answers next may have another history, as etcd from a backup has: it would wait for our version.
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
            self._seen = max(self._seen, _number(version))
            if kind in {"ADDED", "MODIFIED"}:
                self._keep(self._items, item)
            elif kind == "DELETED":
                self._items.pop(_key(item), None)
        if kind != "BOOKMARK":
            self._bell()
        return version


def _number(version: object) -> int:
    """Versions of one kind can be compared (Kubernetes: "Resource versions"); 0 for one that is no number."""
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
