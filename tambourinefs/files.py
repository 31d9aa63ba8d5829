"""Files below a directory descriptor: opened without following a link, replaced so that a power cut
leaves old or new.

The kernel does the confinement (openat2(2) with RESOLVE_BENEATH), not string checks on paths.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import secrets
from pathlib import Path
from typing import Final

# linux/openat2.h
RESOLVE_NO_MAGICLINKS: Final = 0x02
RESOLVE_NO_SYMLINKS: Final = 0x04
RESOLVE_BENEATH: Final = 0x08
RESOLVE_IN_TREE: Final = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS

FUSE_SUPER_MAGIC: Final = 0x65735546  # statfs(2)
OVERLAYFS_SUPER_MAGIC: Final = 0x794C7630
# linux/fs.h, for `rename`
RENAME_NOREPLACE: Final = 1
RENAME_EXCHANGE: Final = 2

_SYS_OPENAT2: Final = 437  # the same number on every architecture (Linux 5.6)
_libc: Final = ctypes.CDLL(None, use_errno=True)


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


class _Statfs(ctypes.Structure):
    """struct statfs of a 64-bit Linux; only f_type is read."""

    _fields_ = (("f_type", ctypes.c_long), ("rest", ctypes.c_byte * 248))


def open_beneath(dirfd: int, path: bytes | str, flags: int, mode: int = 0) -> int:
    """Open `path` below `dirfd` with openat2(2) and return the descriptor (close-on-exec).

    No component may be a link and none may lead out of the directory. "" and "." open the directory
    itself.

    Raises OSError: EXDEV where the path leads out, ELOOP at a link, else as open(2).
    """
    raw = os.fsencode(path) or b"."
    if b"\0" in raw:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), path)
    # openat2 refuses a mode without O_CREAT or O_TMPFILE (openat does not care).
    creates = flags & os.O_CREAT or flags & os.O_TMPFILE == os.O_TMPFILE
    how = _OpenHow(flags | os.O_CLOEXEC, mode & 0o7777 if creates else 0, RESOLVE_IN_TREE)
    while True:
        fd: int = _libc.syscall(
            _SYS_OPENAT2, ctypes.c_int(dirfd), raw, ctypes.byref(how), ctypes.sizeof(how)
        )
        if fd >= 0:
            return fd
        number = ctypes.get_errno()
        # EAGAIN: a rename or mount raced with the walk and the kernel could not rule out an escape
        # (openat2(2)).
        if number not in (errno.EINTR, errno.EAGAIN):
            raise OSError(number, os.strerror(number), path)


def fsync_directory(dirfd: int) -> None:
    """Make the names in the directory survive a loss of power (fsync(2): the file's own fsync does
    not).
    """
    os.fsync(dirfd)


def temporary_name(prefix: str = ".tambourine-") -> str:
    """An unused name in a directory. `prefix` identifies leftovers."""
    return prefix + secrets.token_hex(8)


def rename(old_dir: int, old: bytes, new_dir: int, new: bytes, flags: int) -> None:
    """renameat2(2). Raises OSError as it does."""
    if _libc.renameat2(old_dir, old, new_dir, new, ctypes.c_uint(flags)) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def write_all(fd: int, data: bytes) -> None:
    """write(2) until all is written; a short write is not an error."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def replace_durably(
    dirfd: int,
    name: bytes | str,
    data: bytes,
    *,
    mode: int,
    uid: int = -1,
    gid: int = -1,
    prefix: str = ".tambourine-",
) -> None:
    """Give the file `name` in the directory exactly `data`: old or new after a crash at any line,
    new once this returns.

    `mode` is set as it is, whatever the umask. A link at `name` is replaced, not followed. On an
    error nothing is changed and no temporary file stays; a power cut may leave one with `prefix`.

    Raises OSError as open(2), write(2), fsync(2) and rename(2) do.
    """
    temporary = temporary_name(prefix)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    fd = os.open(temporary, flags, 0o600, dir_fd=dirfd)
    try:
        try:
            write_all(fd, data)
            if (uid, gid) != (-1, -1):
                os.fchown(fd, uid, gid)
            os.fchmod(fd, mode)  # after chown, which clears setuid and setgid
            os.fsync(fd)
        finally:
            os.close(fd)
        os.rename(temporary, name, src_dir_fd=dirfd, dst_dir_fd=dirfd)
    except BaseException:
        os.unlink(temporary, dir_fd=dirfd)
        raise
    fsync_directory(dirfd)


def replace_file_durably(
    path: Path,
    data: bytes,
    *,
    mode: int,
    uid: int = -1,
    gid: int = -1,
    prefix: str = ".tambourine-",
) -> None:
    """As replace_durably, by a path whose directories are trusted."""
    dirfd = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        replace_durably(dirfd, path.name, data, mode=mode, uid=uid, gid=gid, prefix=prefix)
    finally:
        os.close(dirfd)


def close_quietly(fd: int) -> None:
    """close(2) without an error: of a FUSE file it is ENOTCONN when the server is gone, and the
    descriptor is closed all the same. Content that must be durable was fsynced before.
    """
    with contextlib.suppress(OSError):
        os.close(fd)


def mount_id(fd: int) -> int:
    """The id of the mount that the descriptor is on, as in /proc/self/mountinfo (proc(5), fdinfo)."""
    with open(f"/proc/self/fdinfo/{fd}", encoding="ascii") as lines:
        for line in lines:
            if line.startswith("mnt_id:"):
                return int(line.split(":")[1])
    raise OSError(errno.ENOSYS, "fdinfo has no mnt_id")


def filesystem_type(fd: int) -> int:
    """f_type of fstatfs(2), such as FUSE_SUPER_MAGIC.

    Raises OSError: ENOTCONN for a FUSE mount whose server is gone.
    """
    buffer = _Statfs()
    if _libc.fstatfs(ctypes.c_int(fd), ctypes.byref(buffer)) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return int(buffer.f_type)
