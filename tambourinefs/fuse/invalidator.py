"""Invalidates the kernel's caches, on a thread of its own, since each call may block.

The kernel takes the locks of the inode and of its directory, which a request that waits in a
handler may hold. Publish the new state first, then invalidate: a request in between gets the new
state.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, Protocol, Self

import pyfuse3

_log = logging.getLogger(__name__)

_JOIN_SECONDS: Final = 2.0


class Wakeable(Protocol):
    """A pyfuse3.PollHandle, or anything to be called after all earlier invalidations (on the
    invalidator's thread).
    """

    def notify(self) -> None: ...


@dataclass(frozen=True)
class _Inode:
    inode: int
    attributes_only: bool

    def run(self) -> None:
        pyfuse3.invalidate_inode(self.inode, self.attributes_only)


@dataclass(frozen=True)
class _Entry:
    parent: int
    name: bytes

    def run(self) -> None:
        pyfuse3.invalidate_entry(self.parent, self.name)


@dataclass(frozen=True, eq=False)
class _Wake:
    handle: Wakeable

    def run(self) -> None:
        self.handle.notify()


_Invalidation = _Inode | _Entry | _Wake


class Invalidator:
    """A bounded queue of invalidations and the thread that runs them, in order, equal ones once.

    The calls never block and may come from any thread. Beyond `capacity` all waiting ones are
    replaced by one call of `resync` (on the invalidator's thread), which must invalidate everything
    that the kernel may keep: nothing is lost.

    Use as a context manager around `serve`'s nursery, inside `mounted`: it ends before the
    session's memory goes.
    """

    def __init__(self, resync: Callable[[], None], *, capacity: int = 65536) -> None:
        self._resync = resync
        self._capacity = capacity
        self._changed = threading.Condition()
        self._waiting: dict[_Invalidation, None] = {}
        self._overflow = False
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="invalidator", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def inode(self, inode: int, *, attributes_only: bool = False) -> None:
        """Drop the kernel's pages and attributes of an inode."""
        self._add((_Inode(inode, attributes_only),))

    def entry(self, parent: int, name: bytes) -> None:
        """Drop what the kernel knows of a name, so that the next open looks it up again."""
        self._add((_Entry(parent, name),))

    def wake(self, handles: Iterable[Wakeable]) -> None:
        """Wake the poll(2) of each handle; a handle is good for one call."""
        self._add(tuple(_Wake(handle) for handle in handles))

    def stop(self) -> bool:
        """Stop the thread; waiting invalidations are dropped. False where it is stuck in the kernel
        (2 s).
        """
        with self._changed:
            self._stopping = True
            self._changed.notify()
        if self._thread.ident is not None:
            self._thread.join(_JOIN_SECONDS)
        return not self._thread.is_alive()

    def _add(self, added: tuple[_Invalidation, ...]) -> None:
        with self._changed:
            if len(self._waiting) + len(added) > self._capacity:
                self._overflow = True
                self._waiting.clear()
            else:
                self._waiting.update(dict.fromkeys(added))
            self._changed.notify()

    def _take(self) -> Callable[[], None] | None:
        """What to call next, in order; None at the end."""
        with self._changed:
            while not (self._waiting or self._overflow or self._stopping):
                self._changed.wait()
            if self._stopping:
                return None
            if self._overflow:
                self._overflow = False
                return self._resync_all
            first = next(iter(self._waiting))
            del self._waiting[first]
            return first.run

    def _resync_all(self) -> None:
        _log.warning("more than %d invalidations wait: invalidating everything", self._capacity)
        self._resync()

    def _run(self) -> None:
        while (call := self._take()) is not None:
            try:
                call()
            except FileNotFoundError:
                pass  # the kernel does not have it in its caches
            except Exception:
                _log.exception("%s failed", call)
