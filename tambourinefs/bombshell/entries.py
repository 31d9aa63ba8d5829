"""An Entry of io.proto, its etag and its checks, from stat(2)."""

from __future__ import annotations

import errno
import hashlib
import os
import stat

from tambourinefs.rpc import io_pb2


def entry(name: bytes, found: os.stat_result) -> io_pb2.Entry:
    """The entry of a file, directory or link with these attributes."""
    return io_pb2.Entry(
        name=name,
        type=_type(found.st_mode),
        size=found.st_size,
        mode=stat.S_IMODE(found.st_mode),
        mtime_ns=found.st_mtime_ns,
        etag=etag(found),
        uid=found.st_uid,
        gid=found.st_gid,
    )


def etag(found: os.stat_result) -> str:
    """Changes with the content and the attributes of a regular file; "" for anything else.

    Inode and ctime alone are not enough: the clock behind ctime ticks every few milliseconds, and a
    number is reused at once after unlink, so two replaces in one tick could end where they began.
    Uploads therefore carry an mtime that never repeats.
    """
    if not stat.S_ISREG(found.st_mode):
        return ""
    what = (found.st_ino, found.st_ctime_ns, found.st_mtime_ns, found.st_size)
    return hashlib.blake2b(repr(what).encode(), digest_size=12).hexdigest()


def check_match(wanted: str | None, found: os.stat_result | None) -> None:
    """Compare `if_match` with the file that exists (None: none).

    Raises OSError ESTALE where it does not match.
    """
    if wanted is None:
        return
    if found is None:
        raise OSError(errno.ESTALE, "does not exist, and if_match is set")
    if wanted != "*" and (not wanted or wanted != etag(found)):  # only files have etags
        raise OSError(errno.ESTALE, "has changed: its etag is not the one in if_match")


def check_regular(found: os.stat_result | None) -> None:
    """Only regular files are read and replaced; None is a file that does not exist.

    Raises OSError EISDIR, ELOOP or ENXIO for a directory, a link, or anything else.
    """
    if found is None or stat.S_ISREG(found.st_mode):
        return
    if stat.S_ISDIR(found.st_mode):
        raise OSError(errno.EISDIR, "is a directory")
    if stat.S_ISLNK(found.st_mode):
        raise OSError(errno.ELOOP, "is a symbolic link; links are never followed")
    raise OSError(errno.ENXIO, "is not a regular file")


def _type(mode: int) -> io_pb2.EntryType.ValueType:
    if stat.S_ISREG(mode):
        return io_pb2.ENTRY_TYPE_FILE
    if stat.S_ISDIR(mode):
        return io_pb2.ENTRY_TYPE_DIRECTORY
    if stat.S_ISLNK(mode):
        return io_pb2.ENTRY_TYPE_SYMLINK
    return io_pb2.ENTRY_TYPE_OTHER
