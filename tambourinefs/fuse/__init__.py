"""FUSE on trio: the one floor that speaks to pyfuse3, for the silo and for /proc.

It closes pyfuse3's traps: an exception that is not FUSEError would kill the mount, an ENOSYS would be remembered by the
kernel for the mount's life, and a call into the kernel's caches may block on a lock that a parked request holds. One
mount per process: pyfuse3 keeps its session in module globals.

A process must never touch its own mount, nor fork while it holds files open there.
"""

from pyfuse3 import (
    ROOT_INODE,
    EntryAttributes,
    FileInfo,
    FUSEError,
    PollHandle,
    ReaddirToken,
    RequestContext,
    SetattrFields,
    StatvfsData,
    readdir_reply,
)

from tambourinefs.fuse.invalidator import Invalidator
from tambourinefs.fuse.operations import Operations
from tambourinefs.fuse.session import serve

__all__ = [
    "ROOT_INODE",
    "EntryAttributes",
    "FUSEError",
    "FileInfo",
    "Invalidator",
    "Operations",
    "PollHandle",
    "ReaddirToken",
    "RequestContext",
    "SetattrFields",
    "StatvfsData",
    "readdir_reply",
    "serve",
]
