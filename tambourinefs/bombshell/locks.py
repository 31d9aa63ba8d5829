"""Locks on paths: what an etag was compared with stays so until the rename, whatever other requests do."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tambourinefs.bombshell.tree import Parts


class PathLocks:
    """Locks by path. No links are ever followed, so one file has one path (but for hard links, which share no name).

    Few are held at a time (as many as there are Writes and Removes), so each is compared with each.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._held: set[tuple[Parts, bool]] = set()

    @contextmanager
    def holding(self, parts: Parts, *, whole: bool = False) -> Iterator[None]:
        """Nobody else is inside with the same path; with `whole`, or under theirs, with one below it either."""
        mine = parts, whole
        with self._changed:
            self._changed.wait_for(lambda: not any(_meet(mine, other) for other in self._held))
            self._held.add(mine)
        try:
            yield
        finally:
            with self._changed:
                self._held.remove(mine)
                self._changed.notify_all()


def _meet(one: tuple[Parts, bool], other: tuple[Parts, bool]) -> bool:
    return _covers(*one, other[0]) or _covers(*other, one[0])


def _covers(parts: Parts, whole: bool, path: Parts) -> bool:
    return path[: len(parts)] == parts if whole else path == parts
