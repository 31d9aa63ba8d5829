"""This node's silo and status tree, through Bombshell. Never touches `local`, the namespace of the host itself."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Final

import msgspec

from tambourinefs.errors import InvalidManifest, NotFound, TambourineError
from tambourinefs.kube.workloop import Backoff
from tambourinefs.model import manifest, paths
from tambourinefs.model.names import NamespacedName
from tambourinefs.model.schema import Manifest
from tambourinefs.model.status import StatusReport
from tambourinefs.rpc.client import Client, Volume

LOCAL: Final = "local"
LINES: Final = 20  # of the journal of a failed run
LINE: Final = 1024  # characters
LIST_EVERY: Final = 30.0  # seconds: the longest delay that a missed notification costs
log = logging.getLogger(__name__)


class HostClient:
    """Lists the silo only after it changed, and reads only manifests whose etag changed."""

    def __init__(
        self,
        client: Client,
        changed: threading.Event | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`changed` is set when manifests or statuses may have changed, by the threads of `watch`."""
        self._client = client
        self._changed = changed or threading.Event()
        self._clock = clock
        self._cache: dict[NamespacedName, tuple[str, Manifest]] = {}  # with its etag
        self._listed = -LIST_EVERY  # when the whole silo was
        self._watching = threading.Event()  # a change of the silo would be notified
        self._stale = threading.Event()  # the silo has changed since it was listed

    def watch(self, volume: Volume, stop: threading.Event) -> None:
        """Set `changed` at every notification of Bombshell's, and reconnect, until `stop`."""
        backoff, logged = Backoff(0.1, 5.0), ""
        while not stop.is_set():
            try:
                with self._client.watch(volume, "", depth=3) as changes:
                    for _ in changes:  # the first one says that the watch is established
                        backoff.reset()
                        logged = ""
                        self.notify(volume)
                        if stop.is_set():
                            return
            except TambourineError as error:
                if not stop.is_set() and str(error) != logged:
                    logged = str(error)
                    log.warning("watch of %s: %s", volume, logged)
            self.watch_lost(volume)
            stop.wait(backoff.next())

    def notify(self, volume: Volume) -> None:
        """A change of `volume`, or the start of its watch."""
        if volume == "silo":
            self._stale.set()
            self._watching.set()
        self._changed.set()

    def watch_lost(self, volume: Volume) -> None:
        """Until the watch is back, the silo is listed at each read."""
        if volume == "silo":
            self._watching.clear()

    def manifests(self) -> dict[NamespacedName, Manifest]:
        """The cluster's manifests in the silo. Raises where any of it cannot be read: a part is not the whole."""
        now = self._clock()
        known = self._watching.is_set() and not self._stale.is_set()
        if not known or now - self._listed >= LIST_EVERY:
            self._stale.clear()  # before it is listed: a later change makes it stale again
            try:
                self._list()
            except BaseException:
                self._stale.set()
                raise
            self._listed = now
        return {key: parsed for key, (_, parsed) in self._cache.items()}

    def _list(self) -> None:
        found: dict[NamespacedName, tuple[str, Manifest]] = {}
        for namespace in self._directories(""):
            if namespace == LOCAL or namespace.startswith("."):
                continue
            for name in self._directories(namespace):
                if entry := self._manifest((namespace, name)):
                    found[namespace, name] = entry
        self._cache = found

    def _directories(self, path: str) -> list[str]:
        entries = self._client.list("silo", path)
        return [
            entry.name.decode(errors="replace") for entry in entries if entry.kind == "directory"
        ]

    def _manifest(self, key: NamespacedName) -> tuple[str, Manifest] | None:
        try:
            etag = self._client.stat("silo", _path(key)).etag
            cached = self._cache.get(key)
            if cached is not None and cached[0] == etag:
                return cached
            entry, data = self._client.read("silo", _path(key))
        except NotFound:
            return None
        try:
            return entry.etag, manifest.parse_json(data, source="/".join(key))
        except InvalidManifest as error:  # not written by sync: neither to overwrite nor to remove
            log.warning("%s", error)
            return None

    def write(self, item: Manifest) -> None:
        """Write a manifest; it is whole and durable when this returns."""
        self._stale.set()  # whatever the outcome, and before the notification arrives
        key = item.metadata.namespace, item.metadata.name
        self._client.write("silo", _path(key), manifest.to_json(item), parents=True)

    def remove(self, key: NamespacedName) -> None:
        """Remove a manifest, which is the order, then its directory."""
        self._stale.set()
        for path in (_path(key), "/".join(key)):
            try:
                self._client.remove("silo", path, recursive=True)
            except NotFound:
                continue

    def reports(self) -> dict[NamespacedName, StatusReport]:
        """The agent's status of the cluster's services."""
        _, data = self._client.read("proc", "services.json")
        found = msgspec.json.decode(data, type=list[StatusReport])
        return {(one.namespace, one.name): one for one in found if one.namespace != LOCAL}

    def journal(self, key: NamespacedName) -> tuple[str, ...]:
        """The last lines of this run; empty where they cannot be read."""
        try:
            _, data = self._client.read("proc", f"{key[0]}/{key[1]}/journal")
        except TambourineError:
            return ()
        lines = data.decode(errors="replace").splitlines()[-LINES:]
        return tuple(line[:LINE] for line in lines)


def _path(key: NamespacedName) -> str:
    return f"{key[0]}/{key[1]}/{paths.MANIFEST_FILE}"
