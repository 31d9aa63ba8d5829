"""Watch: bells for the silo by inotify(7), for /proc/tambourine by poll(2).

A stream outlives its volume: when that went, nothing is said; when it is back, RESYNC. It ends when what it watches is gone.
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
from tambourinefs.bombshell import names, tree
from tambourinefs.bombshell.descriptors import close
from tambourinefs.bombshell.volume import LOOK_EVERY, Volume
from tambourinefs.errors import OutOfSpace
from tambourinefs.rpc import io_pb2
from tambourinefs.rpc.errors import row_for
from tambourinefs.treewatch import Change, Kind, TreeWatch

CHANGED: Final = io_pb2.WatchResponse.KIND_CHANGED
REMOVED: Final = io_pb2.WatchResponse.KIND_REMOVED
RESYNC: Final = io_pb2.WatchResponse.KIND_RESYNC
_KINDS: Final = {Kind.CHANGED: CHANGED, Kind.REMOVED: REMOVED, Kind.RESYNC: RESYNC}

Ring = tuple[io_pb2.WatchResponse.Kind.ValueType, bytes]


class Bell:
    """Wakes one waiting thread from any other."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._closed = False

    def fileno(self) -> int:
        """Readable after a ring."""
        return self._fd

    def ring(self) -> None:
        """Wake the one who waits. Harmless after close."""
        with self._lock:
            if not self._closed:
                os.eventfd_write(self._fd, 1)

    def clear(self) -> None:
        """Forget rings until now."""
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._fd)

    def close(self) -> None:
        """Give the descriptor back."""
        with self._lock:
            self._closed = True
            close(self._fd)


class Source(Protocol):
    """Something that rings for one path while one mount is there. `ended`: open it again, then tell `again`."""

    events: int  # of poll(2)
    again: io_pb2.WatchResponse.Kind.ValueType
    ended: bool

    def fileno(self) -> int: ...
    def read(self) -> list[Ring]: ...
    def close(self) -> None: ...


def watch(
    volume: Volume, path: bytes, depth: int, is_active: Callable[[], bool], bell: Bell
) -> Iterator[Ring]:
    """Ring until `is_active` turns false, when `bell` must be rung.

    Raises OSError ENODEV … where the volume is not there at the start; ENOENT, after a REMOVED, when what is watched
    is gone.
    """
    parts = names.split(path)
    with volume.listening(bell.ring):
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
                if _wait(bell, source):
                    assert source is not None
                    yield from source.read()
        except FileNotFoundError:
            yield REMOVED, path
            raise
        finally:
            if source is not None:
                source.close()


def _reopen(volume: Volume, parts: tree.Parts, depth: int) -> Source | None:
    """A new source, or None while the volume is away. Raises FileNotFoundError when it is there and the path is not."""
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


def _wait(bell: Bell, source: Source | None) -> bool:
    """Wait until something rings; True when it is the source."""
    poll = select.poll()
    poll.register(bell, select.POLLIN)
    if source is not None:
        poll.register(source, source.events)
    # Without a source the volume's own bell rings when it is back; looking now and then costs little.
    ready = dict(poll.poll(None if source is not None else LOOK_EVERY * 1000))
    if bell.fileno() in ready:
        bell.clear()
    return source is not None and source.fileno() in ready


def _open(volume: Volume, parts: tree.Parts, depth: int) -> Source:
    with volume.root() as root:
        if files.filesystem_type(root) == files.FUSE_SUPER_MAGIC and not volume.writable:
            return _Polled(root, parts)
        with _at(root, parts) as found:
            if tree.is_directory(found):
                return _Tree(volume.mountpoint, found, parts, depth)
        with _at(root, parts[:-1]) as above:
            return _File(volume.mountpoint, above, parts)


@contextmanager
def _at(root: int, parts: tree.Parts) -> Iterator[os.stat_result]:
    """The attributes of a path; its inode number is not given to another file while inside."""
    fd = files.open_beneath(root, b"/".join(parts), os.O_PATH | os.O_NOFOLLOW)
    try:
        yield os.stat(fd)
    finally:
        close(fd)


class _Tree:
    """A directory, and those below it, by inotify."""

    events = select.POLLIN
    again = RESYNC

    def __init__(
        self, mountpoint: Path, found: os.stat_result, parts: tree.Parts, depth: int
    ) -> None:
        self.ended = False
        self._prefix = parts
        try:
            self._watch = TreeWatch(mountpoint / os.fsdecode(b"/".join(parts)), depth)
        except OutOfSpace as error:
            raise OSError(errno.EMFILE, f"cannot watch: {error}") from error
        if self._watch.identity != (found.st_dev, found.st_ino):
            self._watch.close()  # a link was put on the way since we looked
            raise OSError(errno.ELOOP, "was replaced while the watch began")

    def fileno(self) -> int:
        return self._watch.fileno()

    def close(self) -> None:
        self._watch.close()

    def read(self) -> list[Ring]:
        try:
            changes = self._watch.read()
        except OutOfSpace as error:
            raise OSError(errno.EMFILE, f"cannot watch: {error}") from error
        self.ended = self._watch.gone
        return [] if self.ended else [self._ring(c) for c in changes if self._is_visible(c)]

    def _ring(self, change: Change) -> Ring:
        return _KINDS[change.kind], b"/".join((*self._prefix, *filter(None, [change.path])))

    def _is_visible(self, change: Change) -> bool:
        return not any(names.is_temporary(name) for name in change.path.split(b"/"))


class _File(_Tree):
    """One file, by the directory that it is in: a replaced file is another inode."""

    again = CHANGED

    def __init__(self, mountpoint: Path, above: os.stat_result, parts: tree.Parts) -> None:
        super().__init__(mountpoint, above, parts[:-1], 0)
        self._name = parts[-1]

    def read(self) -> list[Ring]:
        rings = super().read()
        if any(kind == REMOVED for kind, _ in rings):
            self.ended = True  # gone, or replaced since: opening it again tells
            return []
        return rings

    def _is_visible(self, change: Change) -> bool:
        return change.kind is Kind.RESYNC or change.path == self._name


class _Polled:
    """A file or directory of /proc/tambourine: POLLPRI on a held rendering means that it is no longer what the name says.

    A directory cannot be polled; `services.json`, which has all, and in a service's directory `status.json` ring for it.
    """

    events = select.POLLPRI
    again = CHANGED

    def __init__(self, root: int, parts: tree.Parts) -> None:
        self.ended = False
        with _at(root, parts) as found:
            is_directory = tree.is_directory(found)
            self._fd = _open_bell(root, parts) if is_directory else _open_file(root, parts)

    def fileno(self) -> int:
        return self._fd

    def close(self) -> None:
        close(self._fd)

    def read(self) -> list[Ring]:
        self.ended = True
        return []


def _open_file(root: int, parts: tree.Parts) -> int:
    return files.open_beneath(root, b"/".join(parts), os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)


def _open_bell(root: int, parts: tree.Parts) -> int:
    try:
        return _open_file(root, (*parts, b"status.json"))
    except FileNotFoundError:
        return _open_file(root, (b"services.json",))
