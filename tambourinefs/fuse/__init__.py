"""FUSE on trio: the one package that uses pyfuse3, for the silo and the statuses.

It guards against pyfuse3's pitfalls: an exception that is not FUSEError ends the mount, the kernel
remembers ENOSYS for the mount's life, and a call into the kernel's caches may block on a lock that
a waiting request holds. One mount per process: pyfuse3 keeps its session in module globals.

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
