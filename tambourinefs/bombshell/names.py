"""Paths as they come over the wire: bytes, relative to a volume's root. Pure."""

from __future__ import annotations

import errno
from typing import Final

MAX_PATH: Final = 4096  # bytes; PATH_MAX of limits.h
MAX_NAME: Final = 255  # bytes; NAME_MAX
# Uploads that are not committed. Nobody sees them, and no request may name one.
TEMPORARY: Final = b".bombshell-"


def split(path: bytes) -> tuple[bytes, ...]:
    """The names in a path; () for the root.

    Raises OSError EINVAL for an absolute path, an empty, "." or ".." name, a NUL, or a name that is reserved for uploads;
    ENAMETOOLONG for a path or a name that is too long.
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
