"""Limits on what one Bombshell uses of the host."""

from __future__ import annotations

import errno
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

CHUNK: Final = 256 * 1024  # bytes of content in one message
MAX_MESSAGE: Final = CHUNK + 16 * 1024  # bytes; the rest of a message is at most a path
PAGE: Final = 256  # entries in one ListResponse
WATCH_DEPTH: Final = 8
SPARE_THREADS: Final = 8


@dataclass(frozen=True, slots=True)
class Limits:
    """Counts of calls at a time, sizes in bytes, times in seconds."""

    watches: int = 64
    reads: int = 16
    writes: int = 16
    lists: int = 8
    others: int = 16  # Stat, Remove, MakeDirectory
    health: int = 8
    health_watches: int = 8
    reflections: int = 2
    file_bytes: int = 1 << 30  # of one Write
    uncommitted_bytes: int = 2 << 30  # of all running Writes
    stall: float = 30.0  # without a message from or to the client
    stream: float = 3600.0  # of a whole Read, Write or List
    connection_age: float = 3600.0  # then a client reconnects and gets a renewed certificate

    @property
    def threads(self) -> int:
        """Enough for every admitted call, and some that refuse the rest."""
        kinds = (
            self.watches, self.reads, self.writes, self.lists, self.others,
            self.health, self.health_watches, self.reflections,
        )  # fmt: skip
        return sum(kinds) + SPARE_THREADS


class UncommittedBytes:
    """Bytes that were received and are not yet committed, of all uploads together."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held = 0
        self._lock = threading.Lock()

    @contextmanager
    def account(self) -> Iterator[Account]:
        """One upload's share; returned at the end, however it ends."""
        account = Account(self)
        try:
            yield account
        finally:
            with self._lock:
                self._held -= account.held

    def take(self, size: int) -> None:
        """Raise OSError ENOBUFS when `size` more bytes exceed the limit."""
        with self._lock:
            if self._held + size > self._limit:
                raise OSError(
                    errno.ENOBUFS, "too many uncommitted bytes of other uploads; try again later"
                )
            self._held += size


class Account:
    """One upload's share of UncommittedBytes."""

    def __init__(self, total: UncommittedBytes) -> None:
        self._total = total
        self.held = 0

    def take(self, size: int) -> None:
        """As UncommittedBytes.take."""
        self._total.take(size)
        self.held += size
