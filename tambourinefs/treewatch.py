"""Notifications of changes in a directory tree: inotify(7) on a directory and those below it, to a
depth.

A change names the path to read again, never what happened. Watches are added before a directory is
scanned, so that what appears meanwhile is reported at least once; more than once is normal. A queue
that overflowed is one RESYNC.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final, Self

import inotify_simple
from inotify_simple import flags

from tambourinefs import files
from tambourinefs.errors import OutOfSpace

APPEARED: Final = int(flags.CREATE | flags.MOVED_TO)
VANISHED: Final = int(flags.DELETE | flags.MOVED_FROM)
ENDED: Final = int(flags.DELETE_SELF | flags.MOVE_SELF | flags.UNMOUNT)
WATCHED: Final = int(
    APPEARED | VANISHED | flags.MODIFY | flags.CLOSE_WRITE | flags.ATTRIB
    | flags.DELETE_SELF | flags.MOVE_SELF | flags.ONLYDIR | flags.EXCL_UNLINK
)  # fmt: skip


class Kind(Enum):
    """What kind of change."""

    CHANGED = "changed"
    REMOVED = "removed"
    RESYNC = "resync"  # events may have been lost: read everything again


@dataclass(frozen=True, slots=True)
class Change:
    """Read `path` again: relative to the root, names joined by "/"; b"" is the root."""

    path: bytes
    kind: Kind


RESYNC: Final = Change(b"", Kind.RESYNC)


class TreeWatch:
    """Watches `root` and the directories below it down to `depth` levels (0: the root alone).

    `fileno()` becomes readable when `read()` has something. `gone` is True once the root itself was
    removed, moved or unmounted: make a new one. A FUSE mount that is detached (MNT_DETACH) gives no
    event; watch mountinfo for that.

    Raises OSError as open(2) does on the root; OutOfSpace where the kernel's limits or `limit`
    directories are reached.
    """

    def __init__(self, root: Path | str, depth: int, *, limit: int = 16384) -> None:
        self.gone = False
        self._path = Path(root)
        self._depth = depth
        self._limit = limit
        self._paths: dict[int, bytes] = {}
        found = os.stat(root)
        self.identity = (found.st_dev, found.st_ino)
        try:
            self._inotify = inotify_simple.INotify(nonblocking=True)
        except OSError as error:
            raise _limit_reached(error, "fs.inotify.max_user_instances") from error
        try:
            self._root_watch = self._add(b"")
            self._enter(b"")
        except BaseException:
            self.close()
            raise

    def fileno(self) -> int:
        """The descriptor to wait on."""
        return int(self._inotify.fileno())

    def close(self) -> None:
        """Close the descriptor. Idempotent."""
        self._inotify.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def read(self) -> list[Change]:
        """The changes since the last call, each once and in order; [] where there are none. Never
        blocks.
        """
        changes: dict[Change, None] = {}
        for event in self._inotify.read(timeout=0):
            changes.update(dict.fromkeys(self._changes(event)))
        return [RESYNC] if RESYNC in changes else list(changes)

    def _changes(self, event: inotify_simple.Event) -> list[Change]:
        if event.mask & flags.Q_OVERFLOW:
            self._rewatch()
            return [RESYNC]
        directory = self._paths.get(event.wd)
        if directory is None:
            return []  # a removed watch: its change was reported
        if event.mask & (ENDED | flags.IGNORED):
            if event.wd != self._root_watch:
                if event.mask & flags.IGNORED:
                    del self._paths[event.wd]  # the kernel dropped it with the directory
                return []  # its parent's event reports it
            self.gone = True
            return [RESYNC]
        path = _join(directory, os.fsencode(event.name)) if event.name else directory
        is_directory = bool(event.mask & flags.ISDIR)
        if event.mask & VANISHED:
            if is_directory and event.mask & flags.MOVED_FROM:
                self._leave(path)
            return [Change(path, Kind.REMOVED)]
        found = self._enter(path) if is_directory and event.mask & APPEARED else []
        return [Change(path, Kind.CHANGED), *found]

    def _open(self, path: bytes, flags: int) -> int:
        """Open a directory of the tree. The root is not kept open: that would prevent its
        DELETE_SELF.
        """
        root = os.open(self._path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            now = os.fstat(root)
            if (now.st_dev, now.st_ino) != self.identity:
                raise FileNotFoundError(errno.ENOENT, "is another directory now", self._path)
            return files.open_beneath(root, path, flags | os.O_DIRECTORY)
        finally:
            os.close(root)

    def _enter(self, path: bytes) -> list[Change]:
        """Watch `path` and what is below it, then scan it: entries may be older than the watch."""
        level = path.count(b"/") + 1 if path else 0
        if level > self._depth:
            return []
        try:
            if path:
                self._add(path)
            fd = self._open(path, os.O_RDONLY)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                return []  # removed or replaced since its event: another event follows
            raise
        found = []
        try:
            with os.scandir(fd) as entries:
                for entry in entries:
                    below = _join(path, os.fsencode(entry.name))
                    found.append(Change(below, Kind.CHANGED))
                    if entry.is_dir(follow_symlinks=False):
                        found += self._enter(below)
        finally:
            os.close(fd)
        return found

    def _add(self, path: bytes) -> int:
        if len(self._paths) >= self._limit:
            raise OutOfSpace(f"more than {self._limit} directories to watch")
        fd = self._open(path, os.O_PATH)
        try:
            # By descriptor: a path could be made to lead elsewhere between the check and the watch.
            wd = int(self._inotify.add_watch(f"/proc/self/fd/{fd}", WATCHED))
        except OSError as error:
            raise _limit_reached(error, "fs.inotify.max_user_watches") from error
        finally:
            os.close(fd)
        self._paths[wd] = path
        return wd

    def _leave(self, path: bytes) -> None:
        """Forget the watches at and below `path`; a watch would follow the directory to its new
        name.
        """
        for wd, watched in list(self._paths.items()):
            if watched == path or watched.startswith(path + b"/"):
                self._drop(wd)

    def _drop(self, wd: int) -> None:
        del self._paths[wd]
        try:
            self._inotify.rm_watch(wd)
        except OSError as error:
            if error.errno != errno.EINVAL:  # the kernel dropped it with the directory
                raise

    def _rewatch(self) -> None:
        """After lost events: directories may be unwatched, or watched under a name that they lost."""
        for wd in list(self._paths):
            if wd != self._root_watch:
                self._drop(wd)
        self._enter(b"")


def _join(directory: bytes, name: bytes) -> bytes:
    return directory + b"/" + name if directory else name


def _limit_reached(error: OSError, setting: str) -> Exception:
    if error.errno in (errno.ENOSPC, errno.EMFILE):
        return OutOfSpace(
            f"the kernel's limit {setting} is reached",
            hint=f"Raise it: sysctl {setting}=65536",
        )
    return error
