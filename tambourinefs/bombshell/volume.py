"""A volume: a mount that Bombshell does its IO on, which may be missing, dead, hanging or replaced
at any moment.

The root is opened for each request, so a volume that comes back is used at once. One thread per
volume checks that it is mounted: it hangs when the file system does, and then requests are refused
before they hang too.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import select
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tambourinefs import files
from tambourinefs.bombshell.paths import PathLocks

log = logging.getLogger("bombshell.volume")

ANSWERS_WITHIN: Final = 2.0  # seconds; a volume that takes longer hangs
REFRESH_EVERY: Final = 5.0  # seconds; a server that dies without unmounting sends no notification

Identity = tuple[int, int, int]  # mount id, st_dev, st_ino of the root


class Volume:
    """`name` is "silo" or "proc". With `plain`, a directory that is not a FUSE mount is served too."""

    def __init__(self, name: str, mountpoint: Path, *, writable: bool, plain: bool = False) -> None:
        self.name = name
        self.mountpoint = mountpoint
        self.writable = writable
        self.locks = PathLocks()
        self.epoch = 0  # rises when the volume goes, comes or is replaced
        self._plain = plain
        self._identity: Identity | None = None
        self._changed = threading.Condition()
        self._listeners: set[Callable[[], None]] = set()
        self._refreshing_since: float | None = None
        self._requested = 0
        self._done = 0
        self._wakeup = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._stopping = False
        self._thread = threading.Thread(target=self._watch, name=f"volume-{name}", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()
        self.refresh()

    def stop(self) -> None:
        """Stop the thread."""
        self._stopping = True
        os.eventfd_write(self._wakeup, 1)
        self._thread.join(ANSWERS_WITHIN)
        if not self._thread.is_alive():
            os.close(self._wakeup)

    @property
    def hangs(self) -> bool:
        """Whether the running refresh takes too long."""
        since = self._refreshing_since
        return since is not None and time.monotonic() - since > ANSWERS_WITHIN

    @property
    def serving(self) -> bool:
        """Whether it was mounted and answered at the last refresh."""
        return self._identity is not None and not self.hangs

    def refresh(self) -> bool:
        """Refresh now, waiting at most ANSWERS_WITHIN; True when the volume is mounted."""
        with self._changed:
            self._requested += 1
            ticket = self._requested
            os.eventfd_write(self._wakeup, 1)
            answered = self._changed.wait_for(lambda: self._done >= ticket, ANSWERS_WITHIN)
            return answered and self._identity is not None

    @contextmanager
    def listening(self, notify: Callable[[], None]) -> Iterator[None]:
        """While inside, `notify` is called (from another thread) whenever `epoch` rises."""
        with self._changed:
            self._listeners.add(notify)
        try:
            yield
        finally:
            with self._changed:
                self._listeners.discard(notify)

    @contextmanager
    def root(self) -> Iterator[int]:
        """The root of the current mount as an O_PATH descriptor.

        Raises OSError ENODEV where nothing is mounted, ENOTCONN where its server is gone, ESHUTDOWN
        where it hangs.
        """
        if self.hangs:
            raise OSError(errno.ESHUTDOWN, "the volume does not answer")
        fd = self._open()
        try:
            yield fd
        finally:
            files.close_quietly(fd)

    def check_writable(self) -> None:
        """Raise OSError EPERM on a read-only volume (EROFS would mean a disk)."""
        if not self.writable:
            raise OSError(errno.EPERM, "the volume is read-only")

    def _open(self) -> int:
        try:
            fd = os.open(self.mountpoint, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR):
                raise OSError(errno.ENODEV, "the volume is not mounted") from error
            raise
        try:
            self._check_mounted(fd)
        except BaseException:
            files.close_quietly(fd)
            raise
        return fd

    def _check_mounted(self, fd: int) -> None:
        """A dead mount, once detached, is an empty directory without an error: only the type tells."""
        if not self._plain and files.filesystem_type(fd) != files.FUSE_SUPER_MAGIC:
            raise OSError(errno.ENODEV, "the volume is not mounted")

    def _watch(self) -> None:
        with open("/proc/self/mountinfo", "rb") as mounts:
            poll = select.poll()
            poll.register(mounts, select.POLLPRI | select.POLLERR)
            poll.register(self._wakeup, select.POLLIN)
            while not self._stopping:
                with self._changed:
                    ticket = self._requested
                self._refresh(ticket)
                poll.poll(REFRESH_EVERY * 1000)
                with contextlib.suppress(BlockingIOError):
                    os.eventfd_read(self._wakeup)

    def _refresh(self, ticket: int) -> None:
        self._refreshing_since = time.monotonic()
        identity, problem = self._identify()
        self._refreshing_since = None
        with self._changed:
            self._done = ticket
            differs = identity != self._identity
            if differs:
                self._identity = identity
                self.epoch += 1
            self._changed.notify_all()
            listeners = tuple(self._listeners) if differs else ()
        if differs:
            log.info("%s at %s: %s", self.name, self.mountpoint, problem or "mounted")
        for notify in listeners:
            try:
                notify()
            except Exception:
                # This thread notifies all listeners of the next mount: one failure must not end it.
                log.exception("%s: a listener failed", self.name)

    def _identify(self) -> tuple[Identity | None, str]:
        try:
            fd = self._open()
            try:
                found = os.stat(fd)
                return (files.mount_id(fd), found.st_dev, found.st_ino), ""
            finally:
                files.close_quietly(fd)
        except OSError as error:
            return None, error.strerror or str(error)
