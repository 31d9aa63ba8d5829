"""System calls that Python does not offer and a file system over descriptors needs. Thin: an errno
becomes an OSError.

Source of the numbers and structures: the man page named at each, and the kernel's uapi headers.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

UTIME_OMIT: Final = 0x3FFFFFFE

_AT_EMPTY_PATH: Final = 0x1000
_MAX_HANDLE: Final = 128  # MAX_HANDLE_SZ, name_to_handle_at(2)
_SYS_GETDENTS64: Final = {"x86_64": 217, "aarch64": 61, "riscv64": 61, "s390x": 220, "ppc64le": 202}
_DIRENT: Final = struct.Struct("=QqHB")  # d_ino, d_off, d_reclen, d_type; then d_name. getdents(2)
_TIMES: Final = struct.Struct("@4l")  # struct timespec[2]

_libc: Final = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


class _FileHandle(ctypes.Structure):
    _fields_ = (
        ("handle_bytes", ctypes.c_uint),
        ("handle_type", ctypes.c_int),
        ("f_handle", ctypes.c_ubyte * _MAX_HANDLE),
    )


class Handle(NamedTuple):
    """Identifies an inode of the store's file system for good: a reused number comes with another
    handle.
    """

    type: int
    data: bytes

    @property
    def generation(self) -> int:
        """A number that differs between two inodes that had the same inode number (FUSE's
        `generation`).
        """
        if len(self.data) == 8:  # FILEID_INO32_GEN and others: 32 bits of number, 32 of generation
            return int.from_bytes(self.data[4:], "little")
        return int.from_bytes(hashlib.blake2b(self.data, digest_size=8).digest(), "little")


class DirectoryEntry(NamedTuple):
    """One name in a directory; `cookie` is where the next one starts (d_off)."""

    name: bytes
    inode: int
    cookie: int


def _check(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def handle_of(fd: int) -> Handle:
    """The file handle behind a descriptor (O_PATH will do); name_to_handle_at(2).

    Raises OSError: EOPNOTSUPP where the file system has none (overlayfs).
    """
    handle = _FileHandle(_MAX_HANDLE, 0)
    mount = ctypes.c_int()
    _check(
        _libc.name_to_handle_at(fd, b"", ctypes.byref(handle), ctypes.byref(mount), _AT_EMPTY_PATH)
    )
    return Handle(handle.handle_type, bytes(handle.f_handle[: handle.handle_bytes]))


def open_handle(mount: int, handle: Handle, flags: int) -> int:
    """Open an inode by its handle, on the file system of the descriptor `mount`;
    open_by_handle_at(2), close-on-exec.

    Raises OSError: ESTALE when it is gone, EPERM without CAP_DAC_READ_SEARCH.
    """
    raw = _FileHandle(len(handle.data), handle.type)
    ctypes.memmove(raw.f_handle, handle.data, len(handle.data))
    return _check(_libc.open_by_handle_at(mount, ctypes.byref(raw), flags | os.O_CLOEXEC))


def set_times(fd: int, atime_ns: int | None, mtime_ns: int | None) -> None:
    """utimensat(2) of what a descriptor is open on (O_PATH will do). Nanoseconds since 1970; None
    leaves a time as it is, which os.utime cannot say.
    """
    both = _TIMES.pack(*_timespec(atime_ns), *_timespec(mtime_ns))
    _check(_libc.utimensat(fd, b"", both, _AT_EMPTY_PATH))


def _timespec(ns: int | None) -> tuple[int, int]:
    return (0, UTIME_OMIT) if ns is None else divmod(ns, 1_000_000_000)


def read_directory(fd: int, buffer: ctypes.Array[ctypes.c_char]) -> list[DirectoryEntry]:
    """The next entries from the descriptor's position, as many as fit; [] at the end.
    getdents64(2).
    """
    number = _SYS_GETDENTS64[platform.machine()]
    size = _check(_libc.syscall(number, fd, ctypes.byref(buffer), ctypes.c_size_t(len(buffer))))
    return list(parse_directory(buffer.raw[:size]))


def parse_directory(raw: bytes) -> Iterator[DirectoryEntry]:
    """struct linux_dirent64, one after the other."""
    at = 0
    while at < len(raw):
        inode, cookie, length, _kind = _DIRENT.unpack_from(raw, at)
        name = raw[at + _DIRENT.size : at + length]
        yield DirectoryEntry(name[: name.index(0)], inode, cookie)
        at += length
