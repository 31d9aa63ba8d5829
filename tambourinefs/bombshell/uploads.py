"""Write: a file arrives under a name that nobody sees and takes its place whole, durably, or leaves nothing.

The temporary file lies in the deepest directory on the way that is there already, so that nothing at all is made before the
commit. It is locked (flock(2)) while its upload goes on: one that can be locked belongs to a server that died.
"""

from __future__ import annotations

import contextlib
import ctypes
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
from tambourinefs.bombshell import entries, names, tree
from tambourinefs.bombshell.descriptors import close
from tambourinefs.bombshell.limits import CHUNK, Account
from tambourinefs.bombshell.locks import PathLocks
from tambourinefs.rpc import io_pb2

log = logging.getLogger("bombshell.uploads")

FILE_MODE: Final = 0o640
_RENAME_NOREPLACE: Final = 1  # rename(2), linux/fs.h
_libc: Final = ctypes.CDLL(None, use_errno=True)
# What a call into a file system ends with when its server dies meanwhile, or is replaced.
_GONE: Final = frozenset(
    {errno.ENOTCONN, errno.ECONNABORTED, errno.EIO, errno.EINTR, errno.ENODEV, errno.ESHUTDOWN}
)
_clock = threading.Lock()
_last_mtime = 0


def mtime_ns() -> int:
    """The time in nanoseconds, and never the same twice in this process."""
    global _last_mtime  # noqa: PLW0603  (one clock a process)
    with _clock:
        _last_mtime = max(time.time_ns(), _last_mtime + 1)
        return _last_mtime


class Upload:
    """One Write, from its header to its commit. `root` stays the caller's; `left` is called where its temporary file may
    lie there still, because the volume went away.
    """

    def __init__(
        self, root: int, header: io_pb2.WriteHeader, limit: int, left: Callable[[], None]
    ) -> None:
        self.parts = names.split(header.path)
        if not self.parts:
            raise OSError(errno.EISDIR, "is the root of the volume")
        if header.mode & ~0o777:
            raise OSError(errno.EINVAL, "mode has bits beyond 0777")
        if header.HasField("if_match") and header.if_absent:
            raise OSError(errno.EINVAL, "if_match and if_absent exclude each other")
        self._root = root
        self._left = left
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
        """The temporary file is there while inside, unless it was committed.

        Raises OSError early for what would fail at the commit anyway.
        """
        there = tree.deepest(self._root, self.parts[:-1])
        if there < len(self.parts) - 1 and not self._header.parents:
            raise FileNotFoundError(errno.ENOENT, "a directory above it is missing")
        with tree.directory(self._root, self.parts[:there]) as self._home:
            if there == len(self.parts) - 1:
                self._check(self._home)
            elif self._if_match is not None:
                entries.check_match(self._if_match, None)
            with _temporary(self._home, self._left) as (self._name, self._fd):
                yield

    def add(self, chunk: bytes, account: Account) -> None:
        """Append a chunk.

        Raises OSError EINVAL or EFBIG when it or the whole is too large, ENOBUFS when all uploads together are.
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

        Raises OSError EBADMSG where the content is not what was sent, ESTALE, EEXIST … as the header asks.
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
                _rename(
                    self._home, self._name, parent, self.parts[-1], absent=self._header.if_absent
                )
        except BaseException:
            tree.forget(self._root, made)
            raise
        # With it the directory that the file came from, which is one of those above.
        tree.persist(self._root, self.parts[:-1])

    def _check(self, parent: int) -> None:
        found = tree.look(parent, self.parts[-1])
        entries.check_match(self._if_match, found)
        if self._header.if_absent and found is not None:
            raise FileExistsError(errno.EEXIST, "is there already")
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
                if not is_active():  # what came after the commit was no message at all
                    raise OSError(errno.EPROTO, "the stream broke after the commit")
                return upload.commit(message.commit, locks)
            if part != "chunk":
                raise OSError(errno.EPROTO, f"expected a chunk or the commit, got {part}")
            upload.add(message.chunk, account)
    raise OSError(errno.EPROTO, "the stream ended without a commit")


_births = threading.Lock()  # between making a temporary file and locking it


@contextmanager
def _temporary(dirfd: int, left: Callable[[], None]) -> Iterator[tuple[bytes, int]]:
    name = files.temporary_name(names.TEMPORARY.decode()).encode()
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
                left()  # made, perhaps, by a file system that died before it could say so
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
            left()
        close(fd)


def _rename(source: int, old: bytes, target: int, new: bytes, *, absent: bool) -> None:
    """rename(2); with `absent` it fails where the new name is taken, also by a writer that asks for no lock of ours."""
    if not absent:
        os.rename(old, new, src_dir_fd=source, dst_dir_fd=target)
        return
    if _libc.renameat2(source, old, target, new, _RENAME_NOREPLACE) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def remove_leftovers(root: int) -> int:
    """Remove the temporary files of servers that died; return how many. Those of living uploads are locked and stay."""
    removed = 0
    pending: list[tree.Parts] = [()]
    while pending:
        parts = pending.pop()
        try:
            with tree.directory(root, parts) as fd:
                for name, is_directory in tree.scan(fd):
                    if is_directory:
                        pending.append((*parts, name))
                    elif names.is_temporary(name):
                        removed += _remove_if_dead(fd, name)
        except (FileNotFoundError, NotADirectoryError):
            continue  # moved or removed meanwhile
        except OSError as error:
            if error.errno not in (errno.ENAMETOOLONG, errno.ELOOP, errno.EACCES):
                raise
            log.warning("left alone while looking for broken uploads: %s", error)
    return removed


def _remove_if_dead(dirfd: int, name: bytes) -> bool:
    with contextlib.suppress(FileNotFoundError, BlockingIOError), _births:
        fd = files.open_beneath(dirfd, name, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.unlink(name, dir_fd=dirfd)
            return True
        finally:
            close(fd)
    return False
