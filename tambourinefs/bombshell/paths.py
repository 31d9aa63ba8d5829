"""Paths as they come over the wire (bytes, relative to a volume's root), and locks on them."""

from __future__ import annotations

import errno
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

Parts = tuple[bytes, ...]

MAX_PATH: Final = 4096  # bytes; PATH_MAX of limits.h
MAX_NAME: Final = 255  # bytes; NAME_MAX
# Prefix of uploads that are not committed: hidden, and no request may name one.
TEMPORARY: Final = b".bombshell-"


def split(path: bytes) -> Parts:
    """The names in a path; () for the root.

    Raises OSError EINVAL for an absolute path, an empty, "." or ".." name, a NUL, or a name that is
    reserved for uploads; ENAMETOOLONG for a path or a name that is too long.
    """
    if not path:
        return ()
    if len(path) > MAX_PATH:
        raise OSError(errno.ENAMETOOLONG, f"path is longer than {MAX_PATH} bytes")
    if b"\0" in path:
        raise OSError(errno.EINVAL, "path contains a NUL")
    parts = tuple(path.split(b"/"))
    for name in parts:
        _check(name)
    return parts


def _check(name: bytes) -> None:
    if not name:
        raise OSError(errno.EINVAL, "path is absolute, ends with a slash or has an empty name")
    if name in (b".", b".."):
        raise OSError(errno.EINVAL, 'path has a "." or ".." in it')
    if len(name) > MAX_NAME:
        raise OSError(errno.ENAMETOOLONG, f"name is longer than {MAX_NAME} bytes")
    if is_temporary(name):
        raise OSError(errno.EINVAL, f'names that begin with "{TEMPORARY.decode()}" are reserved')


def is_temporary(name: bytes) -> bool:
    """Is it the name of an upload that is not committed?"""
    return name.startswith(TEMPORARY)


class PathLocks:
    """Locks by path: what an etag was compared with stays unchanged until the rename.

    No links are ever followed, so one file has one path (but for hard links, which share no name).
    Few are held at a time (as many as there are Writes and Removes), so each is compared with each.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._held: set[tuple[Parts, bool]] = set()

    @contextmanager
    def holding(self, parts: Parts, *, whole: bool = False) -> Iterator[None]:
        """Excludes others with the same path; where `whole` is set, theirs or this one, also with
        paths below it.
        """
        own = parts, whole
        with self._changed:
            self._changed.wait_for(lambda: not any(_meet(own, other) for other in self._held))
            self._held.add(own)
        try:
            yield
        finally:
            with self._changed:
                self._held.remove(own)
                self._changed.notify_all()


def _meet(one: tuple[Parts, bool], other: tuple[Parts, bool]) -> bool:
    return _covers(*one, other[0]) or _covers(*other, one[0])


def _covers(parts: Parts, whole: bool, path: Parts) -> bool:
    return path[: len(parts)] == parts if whole else path == parts
