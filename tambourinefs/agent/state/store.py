"""Applied state on disk: the records of record.py, and the files that the agent replaced.

    <directory>/version                     the format of the records; another one is refused
    <directory>/silo                        the UUID of the silo that this host accepts
    <directory>/services/<ns>_<name>.json   one Record each ("_" is in no Kubernetes name)
    <directory>/originals/<sha256>          contents that were replaced

What a call has returned survives a power cut. Writes of many records cost about one flush of the
disk. All of it blocks: call it from a thread.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self
from uuid import UUID

import msgspec

from tambourinefs import files
from tambourinefs.agent.state.record import Record
from tambourinefs.errors import HostError, InvalidInput
from tambourinefs.model import formats
from tambourinefs.model.names import NamespacedName

if TYPE_CHECKING:
    from collections.abc import Iterable

FSYNC_EACH: Final = 4  # up to so many files are flushed one by one; more, as one file system
TEMPORARY: Final = ".tambourine-"

_libc: Final = ctypes.CDLL(None, use_errno=True)


def syncfs(fd: int) -> None:
    """Flush the file system that `fd` is on (syncfs(2), which reports write errors since Linux 5.8).

    Raises OSError.
    """
    if _libc.syncfs(ctypes.c_int(fd)) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


class Store:
    """The directory above; one process at a time uses it.

    Raises HostError when another agent uses it, or another version wrote it.
    """

    def __init__(self, directory: Path) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        _persist(directory.parent)
        self.directory = directory
        self._root = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self._lock()
            self._check_version()  # a state that is refused is left as it is
            self._services = self._subdirectory("services")
            self._originals = self._subdirectory("originals")
            files.fsync_directory(self._root)
        except BaseException:
            os.close(self._root)
            raise

    def close(self) -> None:
        """Close the descriptors and release the lock."""
        for fd in (self._services, self._originals, self._root):
            os.close(fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _lock(self) -> None:
        try:
            fcntl.flock(self._root, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise HostError(f"another agent uses {self.directory}") from None

    def _subdirectory(self, name: str) -> int:
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, 0o700, dir_fd=self._root)
        return os.open(
            name, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=self._root
        )

    def _check_version(self) -> None:
        text = _read_text(self._root, "version")
        formats.check_applied(text, self.directory)
        if not text:
            number = f"{formats.APPLIED}\n".encode()
            files.replace_durably(self._root, "version", number, mode=0o600)

    # -- the silo

    def silo(self) -> str:
        """The UUID of the silo that this host accepts; "" before the first."""
        return _read_text(self._root, "silo")

    def accept_silo(self, uuid: str) -> None:
        """Accept that silo from now on. Raises OSError."""
        _write_silo(self._root, uuid)

    # -- records

    def load(self) -> dict[NamespacedName, Record]:
        """Every record. One that cannot be read is an error: without it the agent would forget what it
        wrote on the host.

        Raises HostError with the file's name.
        """
        records: dict[NamespacedName, Record] = {}
        for name in sorted(os.listdir(self._services)):
            if name.startswith(TEMPORARY):
                os.unlink(name, dir_fd=self._services)  # of a crash, before its rename
                continue
            path = self.directory / "services" / name
            try:
                record = _decode(path.read_bytes())
            except ValueError as error:
                raise HostError(f"applied state {path} cannot be read: {error}") from error
            records[record.key] = record
        return records

    def save(self, records: Iterable[Record]) -> None:
        """Save these; each is the old or the new one after a crash, all are new when this returns.

        Raises OSError; then some may be saved.
        """
        waiting = list(records)
        if not waiting:
            return
        staged: list[tuple[str, str]] = []
        try:
            for record in waiting:
                temporary = files.temporary_name(TEMPORARY)
                staged.append((temporary, _file_name(record.key)))
                self._write(temporary, _encode(record), flush=len(waiting) <= FSYNC_EACH)
            if len(waiting) > FSYNC_EACH:
                syncfs(self._services)
            while staged:
                os.rename(*staged[-1], src_dir_fd=self._services, dst_dir_fd=self._services)
                staged.pop()
        finally:
            for temporary, _ in staged:
                with contextlib.suppress(OSError):  # fails on a read-only disk as the write did
                    os.unlink(temporary, dir_fd=self._services)
        files.fsync_directory(self._services)

    def _write(self, name: str, data: bytes, *, flush: bool) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        fd = os.open(name, flags, 0o600, dir_fd=self._services)
        try:
            files.write_all(fd, data)
            if flush:
                os.fsync(fd)
        finally:
            os.close(fd)

    def forget(self, keys: Iterable[NamespacedName]) -> None:
        """Remove these records. Raises OSError."""
        for key in keys:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(_file_name(key), dir_fd=self._services)
        files.fsync_directory(self._services)

    # -- originals

    def keep(self, source: int) -> str:
        """Keep the content of the open file `source`; returns its sha256.

        Raises OSError.
        """
        temporary = files.temporary_name(TEMPORARY)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        fd = os.open(temporary, flags, 0o600, dir_fd=self._originals)
        digest = hashlib.sha256()
        try:
            while chunk := os.read(source, 1 << 20):
                digest.update(chunk)
                files.write_all(fd, chunk)
            os.fsync(fd)
        except BaseException:  # a disk that is full must not be fuller after each try
            os.unlink(temporary, dir_fd=self._originals)
            raise
        finally:
            os.close(fd)
        name = digest.hexdigest()
        os.rename(temporary, name, src_dir_fd=self._originals, dst_dir_fd=self._originals)
        files.fsync_directory(self._originals)
        return name

    def open_original(self, digest: str) -> int:
        """A descriptor of a kept content. Raises OSError."""
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.open(digest, flags, dir_fd=self._originals)

    def sweep(self, records: Iterable[Record]) -> None:
        """Remove originals that no record names."""
        named = {written.original.digest for record in records for written in record.written}
        for name in os.listdir(self._originals):
            if name not in named:
                os.unlink(name, dir_fd=self._originals)


def accept_silo(directory: Path, uuid: str) -> None:
    """Have the agent of this state directory accept that silo from now on, whether it runs or not.

    It takes no lock, since an agent that waits for this has it. One file is replaced, which the agent
    writes only before it accepts any silo, and reads again when it finds another than it accepts.

    Raises InvalidInput for what is not a UUID, HostError.
    """
    try:
        uuid = str(UUID(uuid))
    except ValueError:
        hint = (
            "It is in the file .tambourine-silo of the silo, and in the message of SiloUnavailable."
        )
        raise InvalidInput(f'--accept-silo: "{uuid}" is not a UUID', hint=hint) from None
    try:
        root = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            text = _read_text(root, "version")
            if not text:  # not a state directory
                raise FileNotFoundError(directory)
            formats.check_applied(text, directory)
            _write_silo(root, uuid)
        finally:
            os.close(root)
    except FileNotFoundError:
        hint = "An agent that starts there accepts the first silo that it reads."
        raise HostError(
            f"{directory} is not the state directory of an agent yet", hint=hint
        ) from None
    except OSError as error:
        raise HostError(f"{directory}/silo: {error.strerror or error}") from error


class _Head(msgspec.Struct):
    version: int


def _encode(record: Record) -> bytes:
    """The record as JSON, with the format's number first."""
    # A record has required fields, so its JSON is never the empty object, and none named "version".
    return b'{"version":%d,' % formats.APPLIED + msgspec.json.encode(record)[1:]


def _decode(data: bytes) -> Record:
    """Raises ValueError (msgspec's errors are such)."""
    found = msgspec.json.decode(data, type=_Head).version
    if found != formats.APPLIED:
        raise ValueError(f"it has format {found}, this version reads format {formats.APPLIED}")
    return msgspec.json.decode(data, type=Record)


def _write_silo(root: int, uuid: str) -> None:
    files.replace_durably(root, "silo", f"{uuid}\n".encode(), mode=0o600)


def _read_text(root: int, name: str) -> str:
    try:
        file = Path(f"/proc/self/fd/{root}", name)
        return file.read_text(encoding="ascii", errors="replace").strip()
    except FileNotFoundError:
        return ""


def _persist(directory: Path) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        files.fsync_directory(fd)
    finally:
        os.close(fd)


def _file_name(key: NamespacedName) -> str:
    name = f"{key[0]}_{key[1]}"
    if len(name) > 200:  # a name may have 253 characters, a file name 255 bytes
        name = hashlib.sha256(name.encode()).hexdigest()
    return f"{name}.json"
