"""Reads every manifest in the silo through one directory descriptor. It blocks.

A dead mount that was detached lists as an empty directory without an error, so a scan counts only
if the directory is FUSE, has the UUID that this host accepts, and is the same mount before and
after. Anything else is SiloUnavailable: the desired state is unknown then, and nothing is removed.
A manifest that cannot be read is unknown by itself.
"""

from __future__ import annotations

import errno
import os
import shlex
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final, Protocol

import msgspec

from tambourinefs import files
from tambourinefs.errors import InvalidManifest, Unreachable
from tambourinefs.model import manifest as manifests
from tambourinefs.model import names, paths
from tambourinefs.model.rules import MAX_ID
from tambourinefs.model.schema import Generation
from tambourinefs.model.status import ACCEPT_SILO

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from tambourinefs.model.manifest import Manifest
    from tambourinefs.model.names import NamespacedName

MANIFESTS_MAX: Final = 10_000
_ABSENT: Final = (errno.ENOENT, errno.ENOTDIR)
# Errors of one manifest; those of a dead mount are ENOTCONN and ECONNABORTED.
_OF_ONE: Final = (errno.EIO, errno.EACCES, errno.EPERM)
_READ: Final = os.O_RDONLY | os.O_NONBLOCK  # a FIFO does not block; it is refused then

Etag = tuple[int, int, int, int]


class SiloUnavailable(Unreachable):
    """The silo is not there, or is not the one that this host accepts: desired state is unknown."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One manifest in the silo: parsed, or invalid with an error that names the field."""

    key: NamespacedName
    data: bytes
    etag: Etag
    manifest: Manifest | None = None
    error: str = ""
    uid: str = ""
    generation: int = 0


class _Peek(msgspec.Struct):
    uid: Annotated[str, msgspec.Meta(max_length=MAX_ID)] = ""
    generation: Generation = 0


class _PeekObject(msgspec.Struct):
    metadata: _Peek


@dataclass(frozen=True, slots=True)
class Scan:
    """What is in the silo now. `entries` has all; `changed` are keys that came, went or differ from the
    scan before. `unread` says why a manifest cannot be read: its entry is the last one that was
    read, or has the error alone.
    """

    uuid: str
    entries: dict[NamespacedName, Entry]
    changed: frozenset[NamespacedName]
    unread: dict[NamespacedName, str]


class AcceptedSilo(Protocol):
    """Which silo this host accepts, durable (state.store.Store)."""

    def silo(self) -> str:
        """Its UUID; "" before the first."""
        ...

    def accept_silo(self, uuid: str) -> None:
        """Accept that silo from now on. Raises OSError."""
        ...


class Silo:
    """The silo at `path`. If none is accepted yet, the first that is read is.

    `any_directory` takes a plain directory for a silo, for tests.
    """

    def __init__(self, path: Path, accepted: AcceptedSilo, *, any_directory: bool = False) -> None:
        self.path = path
        self._expected = accepted.silo()
        self._accepted = accepted
        self._any_directory = any_directory
        self._entries: dict[NamespacedName, Entry] = {}
        self._unread: dict[NamespacedName, str] = {}
        self._uuid = ""

    def scan(self, keys: Iterable[NamespacedName] | None = None) -> Scan:
        """Read the manifests of these keys, or all. A manifest whose file did not change is not
        read again.

        Raises SiloUnavailable.
        """
        try:
            root = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise SiloUnavailable(f"silo {self.path}: {error.strerror}") from error
        try:
            before = self._identity(root)
            if before[1] != self._uuid:
                self._entries, self._unread, keys = {}, {}, None
            wanted = self._list(root) if keys is None else list(keys)
            unread: dict[NamespacedName, str] = {}
            found = {
                key: entry
                for key in wanted
                if (entry := self._read_or_say(root, key, unread)) is not None
            }
            self._check_same(before)
        except OSError as error:
            raise SiloUnavailable(f"silo {self.path}: {error.strerror or error}") from error
        finally:
            os.close(root)
        if not self._expected:
            self._accept(before[1])
        return self._merge(before[1], found, unread, None if keys is None else set(wanted))

    def _accept(self, uuid: str) -> None:
        try:
            self._accepted.accept_silo(uuid)
        except OSError as error:
            why = error.strerror or error
            raise SiloUnavailable(f"silo {self.path} cannot be accepted: {why}") from error
        self._expected = uuid

    def _merge(
        self,
        uuid: str,
        found: dict[NamespacedName, Entry],
        unread: dict[NamespacedName, str],
        looked_at: set[NamespacedName] | None,
    ) -> Scan:
        entries = found
        if looked_at is not None:
            kept = {key: entry for key, entry in self._entries.items() if key not in looked_at}
            entries = kept | found
            unread |= {key: why for key, why in self._unread.items() if key not in looked_at}
        old = self._entries
        changed = {key for key, entry in found.items() if old.get(key) != entry}
        changed |= {key for key in (looked_at or old) if key in old and key not in found}
        changed |= {key for key, _ in self._unread.items() ^ unread.items()}
        self._entries, self._unread, self._uuid = entries, unread, uuid
        return Scan(uuid, dict(entries), frozenset(changed), dict(unread))

    # -- the right one

    def _identity(self, root: int) -> tuple[int, str]:
        if files.filesystem_type(root) != files.FUSE_SUPER_MAGIC and not self._any_directory:
            raise SiloUnavailable(f"silo {self.path} is not mounted")
        uuid = self._uuid_of(root)
        if self._expected not in ("", uuid):  # it may have been accepted meanwhile
            self._expected = self._accepted.silo() or self._expected
        if self._expected not in ("", uuid):
            raise SiloUnavailable(
                f"silo {self.path} is another one (its store is {uuid}, this host accepts {self._expected})",
                hint=f"If the store was replaced on purpose: {ACCEPT_SILO} {shlex.quote(uuid)}",
            )
        return files.mount_id(root), uuid

    def _uuid_of(self, root: int) -> str:
        fd = files.open_beneath(root, paths.SILO_ID_FILE, _READ)
        try:
            return os.read(fd, 64).decode("ascii", "replace").strip()
        finally:
            os.close(fd)

    def _check_same(self, before: tuple[int, str]) -> None:
        """By path again: what was read must be what is mounted there now."""
        root = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            if self._identity(root) != before:
                raise SiloUnavailable(f"silo {self.path} was mounted again while it was read")
        finally:
            os.close(root)

    # -- reading

    def _list(self, root: int) -> list[NamespacedName]:
        keys: list[NamespacedName] = []
        for namespace in _directories(root, b""):
            if names.namespace_problem(namespace):
                continue
            for name in _directories(root, os.fsencode(namespace)):
                if not names.object_name_problem(name):
                    keys.append((namespace, name))
                if len(keys) > MANIFESTS_MAX:
                    raise SiloUnavailable(
                        f"silo {self.path} has more than {MANIFESTS_MAX} manifests"
                    )
        return keys

    def _read_or_say(
        self, root: int, key: NamespacedName, unread: dict[NamespacedName, str]
    ) -> Entry | None:
        try:
            return self._read(root, key)
        except OSError as error:
            if error.errno not in _OF_ONE:
                raise
            why = f"{key[0]}/{key[1]}/{paths.MANIFEST_FILE} cannot be read: {error.strerror}"
            unread[key] = why
            return self._entries.get(key) or Entry(key, b"", (0, 0, 0, 0), error=why)

    def _read(self, root: int, key: NamespacedName) -> Entry | None:
        path = f"{key[0]}/{key[1]}/{paths.MANIFEST_FILE}"
        try:
            fd = files.open_beneath(root, path, _READ)
        except OSError as error:
            if error.errno in _ABSENT:
                return None
            if error.errno in (errno.ELOOP, errno.EXDEV, errno.ENXIO):
                return Entry(key, b"", (0, 0, 0, 0), error=f"{path} is not a regular file")
            raise
        try:
            about = os.fstat(fd)
            etag = (about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns)
            old = self._entries.get(key)
            if old is not None and old.etag == etag:
                return old
            if not stat.S_ISREG(about.st_mode):
                return Entry(key, b"", etag, error=f"{path} is not a regular file")
            return _parsed(key, _read_up_to(fd, manifests.MAX_BYTES + 1), etag)
        finally:
            os.close(fd)


def _parsed(key: NamespacedName, data: bytes, etag: Etag) -> Entry:
    source = f"{key[0]}/{key[1]}"
    try:
        manifest = manifests.parse_json(data, source=source)
        manifest = _at_home(manifest, key, source)
    except InvalidManifest as error:
        peek = _peek(data)
        # A status must stay small.
        return Entry(key, data[: 1 << 16], etag, None, str(error), peek.uid, peek.generation)
    meta = manifest.metadata
    return Entry(key, data, etag, manifest, "", meta.uid, meta.generation)


def _at_home(manifest: Manifest, key: NamespacedName, source: str) -> Manifest:
    meta = manifest.metadata
    if meta.name != key[1]:
        raise InvalidManifest(
            f"is not the name of its directory, {key[1]}", source=source, field="metadata.name"
        )
    if meta.namespace not in {"", key[0]}:
        raise InvalidManifest(
            f"is not the name of its directory, {key[0]}", source=source, field="metadata.namespace"
        )
    home = msgspec.structs.replace(meta, namespace=key[0])
    return msgspec.structs.replace(manifest, metadata=home)


def _peek(data: bytes) -> _Peek:
    """uid and generation of an invalid manifest, as far as they can be read, for its status."""
    try:
        return msgspec.json.decode(data, type=_PeekObject).metadata
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return _Peek()


def _directories(root: int, path: bytes) -> list[str]:
    """Names of directories that may be namespaces or services, sorted. Links too: what one stands for is
    not gone, and opening it fails with the reason.
    """
    try:
        fd = files.open_beneath(root, path, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        if error.errno in (*_ABSENT, errno.ELOOP):
            return []
        raise
    try:
        with os.scandir(fd) as entries:
            return sorted(
                e.name
                for e in entries
                if (e.is_dir(follow_symlinks=False) or e.is_symlink()) and e.name[0] != "."
            )
    finally:
        os.close(fd)


def _read_up_to(fd: int, limit: int) -> bytes:
    parts = []
    while limit > 0 and (part := os.read(fd, limit)):
        parts.append(part)
        limit -= len(part)
    return b"".join(parts)
