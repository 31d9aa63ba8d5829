"""What all handlers of the silo share: nodes, quota, open descriptors, and the check of writers."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from tambourinefs.fuse import EntryAttributes, Operations, RequestContext
from tambourinefs.model.paths import SILO_ID_FILE
from tambourinefs.silo.nodes import Node, NodeTable
from tambourinefs.silo.quota import Quota
from tambourinefs.silo.store import Store

# Only this server changes the store, so the kernel's caches stay valid; the timeout is for an
# administrator who restores a file in the store by hand.
CACHE_SECONDS: Final = 60.0
ID_NAME: Final = SILO_ID_FILE.encode()


@dataclass(eq=False, slots=True)
class OpenFile:
    """What one open(2) holds; its handle for FUSE is the number of `fd`."""

    fd: int
    node: Node
    synchronous: bool = False  # O_SYNC or O_DSYNC: each write waits for the disk


class Base(Operations):
    """State of the silo. Only trio's thread touches it; worker threads get descriptors and bytes."""

    def __init__(
        self, store: Store, *, writers: frozenset[int] | None, quota: Quota, max_pins: int
    ) -> None:
        """`writers`: user ids; None: every user."""
        self._writers = writers
        self._quota = quota
        self._nodes = NodeTable(store.tree, max_pins)
        self._root = self._nodes.root
        self._id, _ = self._nodes.find_at(store.directory, store.id_name)
        self._id.lookups += 1  # never forgotten
        self._open: dict[int, OpenFile] = {}

    def close(self) -> None:
        """Close what clients left open, after the session's end."""
        for file in self._open.values():
            os.close(file.fd)
        self._open.clear()
        self._nodes.close()

    def _check_writer(self, ctx: RequestContext) -> None:
        """Raises OSError EACCES for a user that is not a writer, root included."""
        if self._writers is not None and ctx.uid not in self._writers:
            raise OSError(errno.EACCES, os.strerror(errno.EACCES))

    def _check_change(self, ctx: RequestContext, node: Node) -> None:
        """Raises OSError EACCES where this caller may not change this inode."""
        self._check_writer(ctx)
        if node is self._id:
            raise OSError(errno.EACCES, os.strerror(errno.EACCES))

    def _check_name(self, ctx: RequestContext, parent: Node, name: bytes) -> None:
        """Raises OSError EACCES where this caller may not make, replace or remove this name."""
        self._check_writer(ctx)
        if parent is self._root and name == ID_NAME:
            raise OSError(errno.EACCES, os.strerror(errno.EACCES))

    def _attributes(self, node: Node, st: os.stat_result | None = None) -> EntryAttributes:
        if st is None:
            st = os.fstat(self._nodes.pin(node))
        entry = EntryAttributes()
        entry.st_ino = node.number
        entry.generation = node.generation
        entry.entry_timeout = entry.attr_timeout = CACHE_SECONDS
        entry.st_mode = st.st_mode
        entry.st_nlink = st.st_nlink
        entry.st_uid = st.st_uid
        entry.st_gid = st.st_gid
        entry.st_rdev = st.st_rdev
        entry.st_size = st.st_size
        entry.st_blksize = st.st_blksize
        entry.st_blocks = st.st_blocks
        entry.st_atime_ns = st.st_atime_ns
        entry.st_mtime_ns = st.st_mtime_ns
        entry.st_ctime_ns = st.st_ctime_ns
        return entry

    def _looked_up(self, parent: Node, name: bytes) -> EntryAttributes:
        """The attributes of a name's inode, to which the kernel gets one more reference."""
        node, st = self._nodes.find(parent, name)
        node.lookups += 1
        return self._attributes(node, st)

    @contextmanager
    def _counted(self, *, bytes_: int = 0, files: int = 0) -> Iterator[None]:
        """Count something in the quota before it is made, and take it back where that fails."""
        self._quota.take(bytes_, files)
        try:
            yield
        except BaseException:
            self._quota.take(-bytes_, -files)
            raise

    def _uncount(self, node: Node) -> None:
        """Stop counting an inode that has neither a name nor an open descriptor."""
        if node.unlinked and node.opens == 0 and node.counted:
            self._quota.take(-node.charge, -1)
            node.counted = False

    def _owner(self, parent: Node, ctx: RequestContext) -> tuple[int, int]:
        """Owner and group of a new inode in a directory; -1 where the directory's setgid bit gives
        the group.
        """
        setgid = os.fstat(self._nodes.pin(parent)).st_mode & stat.S_ISGID
        return ctx.uid, -1 if setgid else ctx.gid
