"""Watch: notifications of changes, of the silo by inotify(7), of the statuses by poll(2).

A stream outlives its volume: when that is unmounted, it is silent; when it is back, it gets RESYNC.
It ends when the watched path is removed.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Protocol

from tambourinefs import files
from tambourinefs.bombshell import paths, tree
from tambourinefs.bombshell.paths import Parts
from tambourinefs.bombshell.volume import REFRESH_EVERY, Volume
from tambourinefs.errors import OutOfSpace
from tambourinefs.rpc import io_pb2
from tambourinefs.rpc.errors import row_for
from tambourinefs.treewatch import Change, Kind, TreeWatch

CHANGED: Final = io_pb2.WatchResponse.KIND_CHANGED
REMOVED: Final = io_pb2.WatchResponse.KIND_REMOVED
RESYNC: Final = io_pb2.WatchResponse.KIND_RESYNC
_KINDS: Final = {Kind.CHANGED: CHANGED, Kind.REMOVED: REMOVED, Kind.RESYNC: RESYNC}

Event = tuple[io_pb2.WatchResponse.Kind.ValueType, bytes]


class Waker:
    """Wakes one waiting thread from any other."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._closed = False

    def fileno(self) -> int:
        """Readable after `wake`."""
        return self._fd

    def wake(self) -> None:
        """Wake the waiting thread. A no-op after close."""
        with self._lock:
            if not self._closed:
                os.eventfd_write(self._fd, 1)

    def clear(self) -> None:
        """Forget earlier wakeups."""
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._fd)

    def close(self) -> None:
        """Close the descriptor."""
        with self._lock:
            self._closed = True
            files.close_quietly(self._fd)


class Source(Protocol):
    """Events of one path on one mount. `ended`: open it again, then send `again`."""

    events: int  # of poll(2)
    again: io_pb2.WatchResponse.Kind.ValueType
    ended: bool

    def fileno(self) -> int: ...
    def read(self) -> list[Event]: ...
    def close(self) -> None: ...


def watch(
    volume: Volume, path: bytes, depth: int, is_active: Callable[[], bool], waker: Waker
) -> Iterator[Event]:
    """Yield events until `is_active` turns false; `waker` must be woken then.

    Raises OSError ENODEV … where the volume is not mounted at the start; ENOENT, after a REMOVED,
    when the path is removed.
    """
    parts = paths.split(path)
    with volume.listening(waker.wake):
        epoch = volume.epoch
        source: Source | None = _open(volume, parts, depth)
        try:
            yield RESYNC, path
            while is_active():
                moved = volume.epoch != epoch
                if source is None or source.ended or moved:
                    epoch = volume.epoch
                    kind = RESYNC if source is None or moved else source.again
                    if source is not None:
                        source.close()
                    source = None
                    source = _reopen(volume, parts, depth)
                    if source is not None:
                        yield kind, path
                if _wait(waker, source):
                    assert source is not None
                    yield from source.read()
        except FileNotFoundError:
            yield REMOVED, path
            raise
        finally:
            if source is not None:
                source.close()


def _reopen(volume: Volume, parts: Parts, depth: int) -> Source | None:
    """A new source, or None while the volume is not mounted. Raises FileNotFoundError where it has
    no such path.
    """
    try:
        return _open(volume, parts, depth)
    except FileNotFoundError:
        raise
    except NotADirectoryError as error:
        raise FileNotFoundError(errno.ENOENT, "is gone") from error
    except OSError as error:
        if row_for(error.errno or 0).code == "UNAVAILABLE":
            return None
        raise


def _wait(waker: Waker, source: Source | None) -> bool:
    """Wait for the waker or the source; True when it is the source."""
    poll = select.poll()
    poll.register(waker, select.POLLIN)
    if source is not None:
        poll.register(source, source.events)
    # Without a source the volume notifies when it is back; refreshing now and then costs little.
    ready = dict(poll.poll(None if source is not None else REFRESH_EVERY * 1000))
    if waker.fileno() in ready:
        waker.clear()
    return source is not None and source.fileno() in ready


def _open(volume: Volume, parts: Parts, depth: int) -> Source:
    with volume.root() as root:
        if files.filesystem_type(root) == files.FUSE_SUPER_MAGIC and not volume.writable:
            return _Polled(root, parts)
        with _at(root, parts) as found:
            if tree.is_directory(found):
                return _Tree(volume.mountpoint, found, parts, depth)
        with _at(root, parts[:-1]) as parent:
            return _File(volume.mountpoint, parent, parts)


@contextmanager
def _at(root: int, parts: Parts) -> Iterator[os.stat_result]:
    """The attributes of a path; its inode number is not given to another file while inside."""
    fd = files.open_beneath(root, b"/".join(parts), os.O_PATH | os.O_NOFOLLOW)
    try:
        yield os.stat(fd)
    finally:
        files.close_quietly(fd)


class _Tree:
    """A directory, and those below it, by inotify."""

    events = select.POLLIN
    again = RESYNC

    def __init__(self, mountpoint: Path, found: os.stat_result, parts: Parts, depth: int) -> None:
        self.ended = False
        self._prefix = parts
        try:
            self._watch = TreeWatch(mountpoint / os.fsdecode(b"/".join(parts)), depth)
        except OutOfSpace as error:
            raise OSError(errno.EMFILE, f"cannot watch: {error}") from error
        if self._watch.identity != (found.st_dev, found.st_ino):
            self._watch.close()  # a link was placed on the path since the check
            raise OSError(errno.ELOOP, "was replaced while the watch began")

    def fileno(self) -> int:
        return self._watch.fileno()

    def close(self) -> None:
        self._watch.close()

    def read(self) -> list[Event]:
        try:
            changes = self._watch.read()
        except OutOfSpace as error:
            raise OSError(errno.EMFILE, f"cannot watch: {error}") from error
        self.ended = self._watch.gone
        return [] if self.ended else [self._event(c) for c in changes if self._is_visible(c)]

    def _event(self, change: Change) -> Event:
        return _KINDS[change.kind], b"/".join((*self._prefix, *filter(None, [change.path])))

    def _is_visible(self, change: Change) -> bool:
        return not any(paths.is_temporary(name) for name in change.path.split(b"/"))


class _File(_Tree):
    """One file, by the directory that it is in: a replaced file is another inode."""

    again = CHANGED

    def __init__(self, mountpoint: Path, parent: os.stat_result, parts: Parts) -> None:
        super().__init__(mountpoint, parent, parts[:-1], 0)
        self._name = parts[-1]

    def read(self) -> list[Event]:
        events = super().read()
        if any(kind == REMOVED for kind, _ in events):
            self.ended = True  # removed or replaced: opening it again shows which
            return []
        return events

    def _is_visible(self, change: Change) -> bool:
        return change.kind is Kind.RESYNC or change.path == self._name


class _Polled:
    """A file or directory of /proc/tambourine: POLLPRI on an open rendering means that the name has
    another content.

    A directory cannot be polled; `services.json`, which has all, or the service's `status.json` is
    polled in its place.
    """

    events = select.POLLPRI
    again = CHANGED

    def __init__(self, root: int, parts: Parts) -> None:
        self.ended = False
        with _at(root, parts) as found:
            is_directory = tree.is_directory(found)
            self._fd = _open_in_place_of(root, parts) if is_directory else _open_file(root, parts)

    def fileno(self) -> int:
        return self._fd

    def close(self) -> None:
        files.close_quietly(self._fd)

    def read(self) -> list[Event]:
        self.ended = True
        return []


def _open_file(root: int, parts: Parts) -> int:
    return files.open_beneath(root, b"/".join(parts), os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)


def _open_in_place_of(root: int, parts: Parts) -> int:
    try:
        return _open_file(root, (*parts, b"status.json"))
    except FileNotFoundError:
        return _open_file(root, (b"services.json",))
