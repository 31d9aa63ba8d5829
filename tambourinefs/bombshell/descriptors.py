"""Descriptors of files on volumes, which may be gone when they are closed."""

from __future__ import annotations

import contextlib
import os


def close(fd: int) -> None:
    """Close, whatever close(2) says: of a FUSE file it is ENOTCONN when the server is gone, and the descriptor is closed
    even so. What had to reach the disk was fsynced before."""
    with contextlib.suppress(OSError):
        os.close(fd)
