"""The quota: how much the store may hold, in bytes and files. Pure.

A regular file or symbolic link counts by its size, rounded up to whole 4 KiB; a directory counts as
a file and no bytes. Not by allocated blocks: a write must be refused before it starts, and what it
will allocate is unknown then (extents, delayed allocation). A sparse file counts whole, a hard link
counts once, and what is unlinked but open counts until it is closed, as it does on the disk.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from typing import Final

BLOCK: Final = 4096


def charge_of(size: int) -> int:
    """Bytes that a file of this size counts for."""
    return -(-size // BLOCK) * BLOCK


@dataclass
class Quota:
    """Limits (None: none) and usage. `bytes` is a multiple of BLOCK."""

    limit_bytes: int | None = None
    limit_files: int | None = None
    bytes: int = 0
    files: int = 0

    def take(self, bytes_: int = 0, files: int = 0) -> None:
        """Count more (or, negative, less). Less always succeeds, also above the limit (it may have
        been lowered).

        Raises OSError EDQUOT, and counts nothing, where more would go over a limit.
        """
        over_bytes = (
            bytes_ > 0 and self.limit_bytes is not None and self.bytes + bytes_ > self.limit_bytes
        )
        over_files = (
            files > 0 and self.limit_files is not None and self.files + files > self.limit_files
        )
        if over_bytes or over_files:
            raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))
        self.bytes += bytes_
        self.files += files
        assert self.bytes >= 0, f"quota: {self.bytes} bytes"
        assert self.files >= 0, f"quota: {self.files} files"

    def shown(self, disk: os.statvfs_result) -> dict[str, int]:
        """The fields of statvfs(3) for `df`: the quota, or the disk's free space where that is
        less.
        """
        scale = disk.f_frsize
        blocks, free, available = (
            n * scale // BLOCK for n in (disk.f_blocks, disk.f_bfree, disk.f_bavail)
        )
        if self.limit_bytes is not None:
            left = max(0, self.limit_bytes - self.bytes) // BLOCK
            blocks, free, available = (
                self.limit_bytes // BLOCK,
                min(free, left),
                min(available, left),
            )
        files, ffree, favail = disk.f_files, disk.f_ffree, disk.f_favail
        if self.limit_files is not None:
            left = max(0, self.limit_files - self.files)
            files, ffree, favail = self.limit_files, min(ffree, left), min(favail, left)
        return {
            "f_bsize": BLOCK,
            "f_frsize": BLOCK,
            "f_blocks": blocks,
            "f_bfree": free,
            "f_bavail": available,
            "f_files": files,
            "f_ffree": ffree,
            "f_favail": favail,
            "f_namemax": disk.f_namemax,
        }
