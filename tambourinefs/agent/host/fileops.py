"""Operations on open directories and files for files.py."""

from __future__ import annotations

import base64
import contextlib
import errno
import grp
import os
import pwd
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tambourinefs import files
from tambourinefs.agent.host.payload import PayloadMissing, copy, open_payload
from tambourinefs.agent.state.store import FSYNC_EACH, syncfs
from tambourinefs.errors import HostError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tambourinefs.agent.host.content import Target
    from tambourinefs.agent.state.record import Original

TEMPORARY: Final = ".tambourine-agent-"
# The kernel makes these from its policy when the file is made again.
_XATTRS_LEFT_OUT: Final = frozenset({"security.selinux", "security.ima", "security.evm"})


@dataclass(frozen=True, slots=True)
class Found:
    """What is at a path. `kind`: "absent", "file", "symlink", or another in words."""

    kind: str
    digest: str = ""
    mode: int = 0
    uid: int = 0
    gid: int = 0


@dataclass(slots=True)
class Staged:
    """A file that is written and not yet renamed."""

    directory: int
    temporary: str
    name: str


@dataclass(frozen=True, slots=True)
class Place:
    """Something that exists: its directory, name and status."""

    directory: int
    name: str
    about: os.stat_result


@contextlib.contextmanager
def opened(place: Place) -> Iterator[int]:
    """A descriptor of a regular file. Raises OSError."""
    # O_NONBLOCK: a FIFO that took the file's place must not block.
    fd = files.open_beneath(place.directory, place.name, os.O_RDONLY | os.O_NONBLOCK)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(errno.EINVAL, "is not a regular file any more", place.name)
        yield fd
    finally:
        os.close(fd)


@contextlib.contextmanager
def temporary_file(directory: int) -> Iterator[tuple[str, int]]:
    """A new file, as (name, descriptor); removed when the block fails, since writes are tried again
    for ever.
    """
    name = files.temporary_name(TEMPORARY)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(name, flags, 0o600, dir_fd=directory)
    try:
        yield name, fd
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name, dir_fd=directory)
        raise
    finally:
        os.close(fd)


def restore_link(directory: int, name: str, original: Original) -> None:
    """Make a symbolic link, in one step for readers."""
    temporary = files.temporary_name(TEMPORARY)
    try:
        os.symlink(original.target, temporary, dir_fd=directory)
        os.chown(temporary, original.uid, original.gid, dir_fd=directory, follow_symlinks=False)
        os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary, dir_fd=directory)
        raise


def owner_ids(target: Target) -> tuple[int, int]:
    """(uid, gid) of a target's owner and group. Raises HostError when this host has no such user or group."""
    try:
        uid = int(target.owner) if target.owner.isdigit() else pwd.getpwnam(target.owner).pw_uid
    except KeyError:
        raise HostError(f"{target.path}: this host has no user {target.owner}") from None
    try:
        gid = int(target.group) if target.group.isdigit() else grp.getgrnam(target.group).gr_gid
    except KeyError:
        raise HostError(f"{target.path}: this host has no group {target.group}") from None
    return uid, gid


def fill(fd: int, target: Target, silo: int) -> None:
    """Write a target's content. Raises PayloadMissing, OSError."""
    if target.data is not None:
        files.write_all(fd, target.data)
        return
    source = open_payload(silo, target.payload)
    try:
        if copy(source, fd) != target.digest:
            raise PayloadMissing(f"payload {target.payload} changed while it was read")
    finally:
        os.close(source)


def xattrs_of(fd: int) -> dict[str, str]:
    """Extended attributes in base64."""
    try:
        names = [name for name in os.listxattr(fd) if name not in _XATTRS_LEFT_OUT]
    except OSError as error:
        if error.errno == errno.ENOTSUP:
            return {}
        raise
    return {name: base64.b64encode(os.getxattr(fd, name)).decode() for name in names}


def flush(staged: list[Staged]) -> None:
    """Make the contents durable."""
    if len(staged) > FSYNC_EACH:
        devices = {os.fstat(item.directory).st_dev: item.directory for item in staged}
        for directory in devices.values():
            syncfs(directory)
        return
    for item in staged:
        fd = os.open(item.temporary, os.O_RDONLY | os.O_CLOEXEC, dir_fd=item.directory)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def distinct(staged: list[Staged]) -> list[int]:
    """One descriptor for each directory."""
    found: dict[tuple[int, int], int] = {}
    for item in staged:
        about = os.fstat(item.directory)
        found.setdefault((about.st_dev, about.st_ino), item.directory)
    return list(found.values())


def kind_of(mode: int) -> str:
    """What a file other than a regular one is, in words."""
    words = {
        stat.S_IFDIR: "a directory", stat.S_IFIFO: "a FIFO", stat.S_IFSOCK: "a socket",
        stat.S_IFCHR: "a device", stat.S_IFBLK: "a device",
    }  # fmt: skip
    return words.get(stat.S_IFMT(mode), "not a regular file")


@contextlib.contextmanager
def named(path: str) -> Iterator[None]:
    """OSError becomes HostError with the path and the reason."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EXDEV):
            raise HostError(
                f"{path}: a part of it is a symbolic link, which is not followed"
            ) from error
        raise HostError(f"{path}: {error.strerror or error}") from error
