"""One lock per path, for as long as somebody holds or wants it: what an etag was compared with stays so until the rename."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tambourinefs.bombshell.tree import Parts


class PathLocks:
    """Locks by path. No links are ever followed, so one file has one path (but for hard links, which share no name)."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._held: dict[Parts, tuple[threading.Lock, int]] = {}

    @contextmanager
    def holding(self, parts: Parts) -> Iterator[None]:
        """Nobody else is inside with the same path."""
        with self._guard:
            lock, users = self._held.get(parts, (threading.Lock(), 0))
            self._held[parts] = (lock, users + 1)
        try:
            with lock:
                yield
        finally:
            with self._guard:
                lock, users = self._held[parts]
                if users == 1:
                    del self._held[parts]
                else:
                    self._held[parts] = (lock, users - 1)
