"""This node's side: manifests and statuses through Bombshell. Never touches `local`, the namespace of the host itself."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Final

import msgspec

from tambourinefs.errors import InvalidManifest, NotFound, TambourineError
from tambourinefs.model import manifest, paths
from tambourinefs.model.names import NamespacedName
from tambourinefs.model.schema import Manifest
from tambourinefs.model.status import StatusReport
from tambourinefs.rpc.client import Client

LOCAL: Final = "local"
LINES: Final = 20  # of the journal of a failed run
LINE: Final = 1024  # characters
LIST_EVERY: Final = 30.0  # seconds: a bell that was missed costs no more
log = logging.getLogger(__name__)


class Host:
    """What lies in the silo is listed again only when it rang, and read again only where its etag changed."""

    def __init__(self, client: Client, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._clock = clock
        self._read: dict[NamespacedName, tuple[str, Manifest]] = {}
        self._listed = -LIST_EVERY  # when all of it was
        self._listening = threading.Event()  # a change would ring
        self._rang = threading.Event()

    def rang(self) -> None:
        """The silo told of a change (or, first of all, that it will tell of the next one)."""
        self._rang.set()
        self._listening.set()

    def deaf(self) -> None:
        """The silo tells no more: it is listed at each look."""
        self._listening.clear()

    def held(self) -> dict[NamespacedName, Manifest]:
        """The cluster's manifests in the silo. Raises where any of it cannot be read: a part is not the whole."""
        now = self._clock()
        known = self._listening.is_set() and not self._rang.is_set()
        if not known or now - self._listed >= LIST_EVERY:
            self._rang.clear()  # before it is listed: what rings from here on is looked at once more
            try:
                self._list()
            except BaseException:
                self._rang.set()
                raise
            self._listed = now
        return {key: parsed for key, (_, parsed) in self._read.items()}

    def _list(self) -> None:
        found: dict[NamespacedName, tuple[str, Manifest]] = {}
        for namespace in self._directories(""):
            if namespace == LOCAL or namespace.startswith("."):
                continue
            for name in self._directories(namespace):
                key = (namespace, name)
                if entry := self._manifest(key):
                    found[key] = entry
        self._read = found

    def _directories(self, path: str) -> list[str]:
        entries = self._client.list("silo", path)
        return [
            entry.name.decode(errors="replace") for entry in entries if entry.kind == "directory"
        ]

    def _manifest(self, key: NamespacedName) -> tuple[str, Manifest] | None:
        path = f"{key[0]}/{key[1]}/{paths.MANIFEST_FILE}"
        try:
            etag = self._client.stat("silo", path).etag
            before = self._read.get(key)
            if before is not None and before[0] == etag:
                return before
            entry, data = self._client.read("silo", path)
        except NotFound:
            return None
        try:
            return entry.etag, manifest.parse_json(data, source="/".join(key))
        except InvalidManifest as error:  # not written by us: neither ours to mend nor to remove
            log.warning("%s", error)
            return None

    def write(self, item: Manifest) -> None:
        """Lay a manifest down, whole and durable when it returns."""
        metadata = item.metadata
        path = f"{metadata.namespace}/{metadata.name}/{paths.MANIFEST_FILE}"
        self._rang.set()  # whatever becomes of it, and before its bell is heard
        self._client.write("silo", path, manifest.to_json(item), parents=True)

    def remove(self, key: NamespacedName) -> None:
        """Take a manifest away: the file first, which is the order; then its directory."""
        self._rang.set()
        for path in (f"{key[0]}/{key[1]}/{paths.MANIFEST_FILE}", f"{key[0]}/{key[1]}"):
            try:
                self._client.remove("silo", path, recursive=True)
            except NotFound:
                continue

    def reports(self) -> dict[NamespacedName, StatusReport]:
        """What the agent says of the cluster's services."""
        _, data = self._client.read("proc", "services.json")
        found = msgspec.json.decode(data, type=list[StatusReport])
        return {(one.namespace, one.name): one for one in found if one.namespace != LOCAL}

    def journal(self, key: NamespacedName) -> tuple[str, ...]:
        """The last lines of this run; empty where there are none to be had."""
        try:
            _, data = self._client.read("proc", f"{key[0]}/{key[1]}/journal")
        except TambourineError:
            return ()
        lines = data.decode(errors="replace").splitlines()[-LINES:]
        return tuple(line[:LINE] for line in lines)
