"""Names below a volume's root: open, make and remove. Never follows a link, never leaves the root."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from tambourinefs import files
from tambourinefs.bombshell import paths
from tambourinefs.bombshell.paths import Parts

DIRECTORY_MODE: Final = 0o750
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


@contextmanager
def directory(root: int, parts: Parts) -> Iterator[int]:
    """A directory below the root, open for reading (a descriptor that fsync takes).

    Raises OSError as open(2): ENOENT, ENOTDIR, ELOOP at a link …
    """
    fd = files.open_beneath(root, b"/".join(parts), _DIRECTORY)
    try:
        yield fd
    finally:
        files.close_quietly(fd)


def stat_at(dirfd: int, name: bytes) -> os.stat_result | None:
    """The attributes of a name (of a link itself), or None where there is none."""
    try:
        return os.stat(name, dir_fd=dirfd, follow_symlinks=False)
    except FileNotFoundError:
        return None


def deepest(root: int, parts: Parts) -> int:
    """How many of the leading `parts` exist as directories.

    Raises OSError ENOTDIR or ELOOP where something else is in the way.
    """
    for count in range(len(parts), 0, -1):
        try:
            with directory(root, parts[:count]):
                return count
        except FileNotFoundError:
            continue
    return 0


def make_directories(root: int, parts: Parts, mode: int = DIRECTORY_MODE) -> list[Parts]:
    """Make the directories on the way that are missing; return those that were made, from the top.
    Not yet durable.
    """
    made: list[Parts] = []
    for count in range(deepest(root, parts), len(parts)):
        with contextlib.suppress(FileExistsError):  # another request was faster
            make_directory(root, parts[: count + 1], mode)
            made.append(parts[: count + 1])
    return made


def make_directory(root: int, parts: Parts, mode: int) -> None:
    """mkdir(2) with exactly this mode, whatever the umask. Not yet durable."""
    with directory(root, parts[:-1]) as parent:
        os.mkdir(parts[-1], 0o700, dir_fd=parent)
    with directory(root, parts) as made:
        os.fchmod(made, mode)


def remove_made(root: int, made: list[Parts]) -> None:
    """Remove directories that were made for a request that then failed, as far as they are empty."""
    for parts in reversed(made):
        with contextlib.suppress(OSError), directory(root, parts[:-1]) as parent:
            os.rmdir(parts[-1], dir_fd=parent)


def persist(root: int, parts: Parts) -> None:
    """fsync a directory and all above it.

    All: one above may have been made by a request that has not come to its fsync yet, or by one
    that died before it.
    """
    for count in range(len(parts), -1, -1):
        with directory(root, parts[:count]) as fd:
            files.fsync_directory(fd)


def remove_all(dirfd: int, name: bytes) -> None:
    """Remove the directory `name` and all in it, links and running uploads included. Not yet
    durable.
    """
    pending: list[bytes] = [name]
    while pending:
        path = pending[-1]
        below = _clear(dirfd, path)
        if below:
            pending.extend(below)
            continue
        parent, _, last = path.rpartition(b"/")
        fd = files.open_beneath(dirfd, parent, _DIRECTORY)
        try:
            os.rmdir(last, dir_fd=fd)
        finally:
            files.close_quietly(fd)
        pending.pop()


def _clear(dirfd: int, path: bytes) -> list[bytes]:
    """Unlink all but directories; return the paths of the directories."""
    if len(path) > paths.MAX_PATH:
        raise OSError(errno.ENAMETOOLONG, "has directories too deep to be removed")
    found = []
    fd = files.open_beneath(dirfd, path, _DIRECTORY)
    try:
        for name, is_directory in scan(fd):
            if is_directory:
                found.append(path + b"/" + name)
            else:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=fd)
    finally:
        files.close_quietly(fd)
    return found


def scan(fd: int) -> list[tuple[bytes, bool]]:
    """The names in a directory, and whether each is a directory (a link to one is not)."""
    with os.scandir(fd) as entries:
        return [(os.fsencode(e.name), e.is_dir(follow_symlinks=False)) for e in entries]


def is_directory(found: os.stat_result) -> bool:
    """By stat(2), which does not follow links here."""
    return stat.S_ISDIR(found.st_mode)
