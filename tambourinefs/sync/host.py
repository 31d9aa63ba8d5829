"""This node's side: manifests and statuses through Bombshell. Never touches `local`, the namespace of the host itself."""

from __future__ import annotations

import logging
from typing import Final

import msgspec

from tambourinefs.errors import InvalidManifest, NotFound, TambourineError
from tambourinefs.model import manifest, paths
from tambourinefs.model.schema import Manifest
from tambourinefs.model.status import StatusReport
from tambourinefs.rpc.client import Client

Key = tuple[str, str]
LOCAL: Final = "local"
LINES: Final = 20  # of the journal of a failed run
LINE: Final = 1024  # characters
log = logging.getLogger(__name__)


class Host:
    """What lies in the silo is read again only where its etag changed."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._read: dict[Key, tuple[str, Manifest]] = {}

    def held(self) -> dict[Key, Manifest]:
        """The cluster's manifests in the silo. Raises where any of it cannot be read: a part is not the whole."""
        found: dict[Key, tuple[str, Manifest]] = {}
        for namespace in self._directories(""):
            if namespace == LOCAL or namespace.startswith("."):
                continue
            for name in self._directories(namespace):
                key = (namespace, name)
                if entry := self._manifest(key):
                    found[key] = entry
        self._read = found
        return {key: parsed for key, (_, parsed) in found.items()}

    def _directories(self, path: str) -> list[str]:
        entries = self._client.list("silo", path)
        return [
            entry.name.decode(errors="replace") for entry in entries if entry.kind == "directory"
        ]

    def _manifest(self, key: Key) -> tuple[str, Manifest] | None:
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
        self._client.write("silo", path, manifest.to_json(item), parents=True)

    def remove(self, key: Key) -> None:
        """Take a manifest away: the file first, which is the order; then its directory."""
        for path in (f"{key[0]}/{key[1]}/{paths.MANIFEST_FILE}", f"{key[0]}/{key[1]}"):
            try:
                self._client.remove("silo", path, recursive=True)
            except NotFound:
                continue

    def reports(self) -> dict[Key, StatusReport]:
        """What the agent says of the cluster's services."""
        _, data = self._client.read("proc", "services.json")
        found = msgspec.json.decode(data, type=list[StatusReport])
        return {(one.namespace, one.name): one for one in found if one.namespace != LOCAL}

    def journal(self, key: Key) -> tuple[str, ...]:
        """The last lines of this run; empty where there are none to be had."""
        try:
            _, data = self._client.read("proc", f"{key[0]}/{key[1]}/journal")
        except TambourineError:
            return ()
        lines = data.decode(errors="replace").splitlines()[-LINES:]
        return tuple(line[:LINE] for line in lines)
