"""Write: a file is received under a hidden name and renamed whole and durably, or leaves nothing.

The temporary file is in the deepest existing directory on its path, so that no directory is made
before the commit. It is locked (flock(2)) while its upload runs: one that can be locked belongs to
a server that died.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from tambourinefs import files
from tambourinefs.bombshell import entries, paths, tree
from tambourinefs.bombshell.limits import CHUNK, Account
from tambourinefs.bombshell.paths import Parts, PathLocks
from tambourinefs.rpc import io_pb2

log = logging.getLogger("bombshell.uploads")

FILE_MODE: Final = 0o640
# Errors of a call into a file system whose server dies meanwhile or is replaced.
_GONE: Final = frozenset(
    {errno.ENOTCONN, errno.ECONNABORTED, errno.EIO, errno.EINTR, errno.ENODEV, errno.ESHUTDOWN}
)
_clock = threading.Lock()
_last_mtime = 0


def mtime_ns() -> int:
    """The time in nanoseconds, never the same twice in this process."""
    global _last_mtime  # noqa: PLW0603  (one clock a process)
    with _clock:
        _last_mtime = max(time.time_ns(), _last_mtime + 1)
        return _last_mtime


class Upload:
    """One Write, from its header to its commit. `root` stays the caller's; `on_leftover` is called
    where the temporary file may remain, because the volume is gone.
    """

    def __init__(
        self, root: int, header: io_pb2.WriteHeader, limit: int, on_leftover: Callable[[], None]
    ) -> None:
        self.parts = paths.split(header.path)
        if not self.parts:
            raise OSError(errno.EISDIR, "is the root of the volume")
        if header.mode & ~0o777:
            raise OSError(errno.EINVAL, "mode has bits beyond 0777")
        if header.HasField("if_match") and header.if_absent:
            raise OSError(errno.EINVAL, "if_match and if_absent exclude each other")
        self._root = root
        self._on_leftover = on_leftover
        self._header = header
        self._limit = header.size if header.HasField("size") else limit
        if self._limit > limit:
            raise OSError(errno.EFBIG, f"is larger than {limit} bytes")
        self._size = 0
        self._digest = hashlib.sha256()

    @property
    def _if_match(self) -> str | None:
        return self._header.if_match if self._header.HasField("if_match") else None

    @contextmanager
    def receiving(self) -> Iterator[None]:
        """The temporary file exists while inside, until it is committed.

        Raises OSError early for what would fail at the commit anyway.
        """
        existing = tree.deepest(self._root, self.parts[:-1])
        if existing < len(self.parts) - 1 and not self._header.parents:
            raise FileNotFoundError(errno.ENOENT, "a parent directory does not exist")
        with tree.directory(self._root, self.parts[:existing]) as self._home:
            if existing == len(self.parts) - 1:
                self._check(self._home)
            elif self._if_match is not None:
                entries.check_match(self._if_match, None)
            with _temporary(self._home, self._on_leftover) as (self._name, self._fd):
                yield

    def add(self, chunk: bytes, account: Account) -> None:
        """Append a chunk.

        Raises OSError EINVAL or EFBIG when it or the whole is too large, ENOBUFS when all uploads
        together are.
        """
        if len(chunk) > CHUNK:
            raise OSError(errno.EINVAL, f"a chunk is larger than {CHUNK} bytes")
        self._size += len(chunk)
        if self._size > self._limit:
            if self._header.HasField("size"):
                raise OSError(errno.EINVAL, "is larger than its header says")
            raise OSError(errno.EFBIG, f"is larger than {self._limit} bytes")
        account.take(len(chunk))
        files.write_all(self._fd, chunk)
        self._digest.update(chunk)

    def commit(self, commit: io_pb2.WriteCommit, locks: PathLocks) -> io_pb2.Entry:
        """Give the file its name; durable when this returns.

        Raises OSError EBADMSG where the content is not what was sent, ESTALE, EEXIST … as the
        header asks.
        """
        if self._header.HasField("size") and self._size != self._header.size:
            raise OSError(errno.EINVAL, "is smaller than its header says")
        if commit.sha256 and commit.sha256 != self._digest.digest():
            raise OSError(errno.EBADMSG, "the content does not have the sha256 in the commit")
        os.fchmod(self._fd, self._header.mode or FILE_MODE)
        now = mtime_ns()
        os.utime(self._fd, ns=(now, now))
        os.fsync(self._fd)
        with locks.holding(self.parts):
            self._place()
            return entries.entry(self.parts[-1], os.stat(self._fd))

    def _place(self) -> None:
        made = tree.make_directories(self._root, self.parts[:-1]) if self._header.parents else []
        try:
            with tree.directory(self._root, self.parts[:-1]) as parent:
                self._check(parent)
                # Without RENAME_NOREPLACE a writer that takes no PathLocks could make the name
                # meanwhile.
                flags = files.RENAME_NOREPLACE if self._header.if_absent else 0
                files.rename(self._home, self._name, parent, self.parts[-1], flags)
        except BaseException:
            tree.remove_made(self._root, made)
            raise
        # Includes the directory of the temporary file, which is one of the parents.
        tree.persist(self._root, self.parts[:-1])

    def _check(self, parent: int) -> None:
        found = tree.stat_at(parent, self.parts[-1])
        entries.check_match(self._if_match, found)
        if self._header.if_absent and found is not None:
            raise FileExistsError(errno.EEXIST, "already exists")
        entries.check_regular(found)


def receive(
    messages: Iterator[io_pb2.WriteRequest],
    upload: Upload,
    account: Account,
    locks: PathLocks,
    is_active: Callable[[], bool],
) -> io_pb2.Entry:
    """Take the messages after the header and commit.

    Raises OSError EPROTO where they are out of order or end without a commit, else as Upload does.
    """
    with upload.receiving():
        for message in messages:
            part = message.WhichOneof("part")
            if part == "commit":
                if next(messages, None) is not None:
                    raise OSError(errno.EPROTO, "a message came after the commit")
                if not is_active():  # what came after the commit was not a message
                    raise OSError(errno.EPROTO, "the stream broke after the commit")
                return upload.commit(message.commit, locks)
            if part != "chunk":
                raise OSError(errno.EPROTO, f"expected a chunk or the commit, got {part}")
            upload.add(message.chunk, account)
    raise OSError(errno.EPROTO, "the stream ended without a commit")


_births = threading.Lock()  # between making a temporary file and locking it


@contextmanager
def _temporary(dirfd: int, on_leftover: Callable[[], None]) -> Iterator[tuple[bytes, int]]:
    name = files.temporary_name(paths.TEMPORARY.decode()).encode()
    with _births:
        try:
            fd = os.open(
                name,
                os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC,
                0o600,
                dir_fd=dirfd,
            )
        except OSError as error:
            if error.errno in _GONE:
                on_leftover()  # perhaps made by a file system that died before it answered
            raise
        fcntl.flock(fd, fcntl.LOCK_EX)
    try:
        yield name, fd
    finally:
        try:
            os.unlink(name, dir_fd=dirfd)
        except FileNotFoundError:
            pass  # committed
        except OSError:
            on_leftover()
        files.close_quietly(fd)


def remove_leftovers(root: int) -> int:
    """Remove the temporary files of servers that died; return how many. Those of living uploads are
    locked and stay.
    """
    removed = 0
    pending: list[Parts] = [()]
    while pending:
        parts = pending.pop()
        try:
            with tree.directory(root, parts) as fd:
                for name, is_directory in tree.scan(fd):
                    if is_directory:
                        pending.append((*parts, name))
                    elif paths.is_temporary(name):
                        removed += _remove_if_dead(fd, name)
        except (FileNotFoundError, NotADirectoryError):
            continue  # moved or removed meanwhile
        except OSError as error:
            if error.errno not in (errno.ENAMETOOLONG, errno.ELOOP, errno.EACCES):
                raise
            log.warning("skipped in the search for broken uploads: %s", error)
    return removed


def _remove_if_dead(dirfd: int, name: bytes) -> bool:
    with contextlib.suppress(FileNotFoundError, BlockingIOError), _births:
        fd = files.open_beneath(dirfd, name, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.unlink(name, dir_fd=dirfd)
            return True
        finally:
            files.close_quietly(fd)
    return False
