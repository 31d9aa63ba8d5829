"""Handlers of names: lookup, make, link, rename, remove."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence
from typing import Final

from tambourinefs import files
from tambourinefs.fuse import EntryAttributes, RequestContext
from tambourinefs.silo.base import CACHE_SECONDS, ID_NAME, Base
from tambourinefs.silo.nodes import Node, charge_of_stat
from tambourinefs.silo.quota import charge_of

# "No such name" as an answer that the kernel caches, unlike an error (libfuse, fuse_reply_entry:
# inode 0).
_NEGATIVE: Final = EntryAttributes()
_NEGATIVE.entry_timeout = CACHE_SECONDS


class Names(Base):
    """Each handler is one or two system calls on the store, on trio's thread."""

    async def lookup(self, parent_inode: int, name: bytes, ctx: RequestContext) -> EntryAttributes:
        parent = self._nodes[parent_inode]
        if parent is self._root and name == ID_NAME:
            self._id.lookups += 1
            return self._attributes(self._id)
        try:
            return self._looked_up(parent, name)
        except FileNotFoundError:
            return _NEGATIVE

    async def forget(self, inode_list: Sequence[tuple[int, int]]) -> None:
        for number, count in inode_list:
            self._nodes.forget(number, count)

    async def getattr(self, inode: int, ctx: RequestContext) -> EntryAttributes:
        return self._attributes(self._nodes[inode])

    async def readlink(self, inode: int, ctx: RequestContext) -> bytes:
        # An empty path reads the link that the descriptor itself is: readlinkat(2).
        return os.readlink(b"", dir_fd=self._nodes.pin(self._nodes[inode]))

    async def mkdir(
        self, parent_inode: int, name: bytes, mode: int, ctx: RequestContext
    ) -> EntryAttributes:
        parent = self._nodes[parent_inode]
        self._check_name(ctx, parent, name)
        with self._counted(files=1):
            os.mkdir(name, stat.S_IMODE(mode), dir_fd=self._nodes.pin(parent))
            try:
                self._set_owner(parent, name, ctx)
            except BaseException:
                os.rmdir(name, dir_fd=self._nodes.pin(parent))
                raise
        return self._looked_up(parent, name)

    async def mknod(
        self, parent_inode: int, name: bytes, mode: int, rdev: int, ctx: RequestContext
    ) -> EntryAttributes:
        """Regular files only: opening a FIFO hangs, and no manifest is a device."""
        parent = self._nodes[parent_inode]
        self._check_name(ctx, parent, name)
        if not stat.S_ISREG(mode):
            raise OSError(errno.EPERM, os.strerror(errno.EPERM))
        with self._counted(files=1):
            os.close(self._make_file(parent, name, mode, os.O_WRONLY, ctx))
        return self._looked_up(parent, name)

    async def symlink(
        self, parent_inode: int, name: bytes, target: bytes, ctx: RequestContext
    ) -> EntryAttributes:
        parent = self._nodes[parent_inode]
        self._check_name(ctx, parent, name)
        with self._counted(bytes_=charge_of(len(target)), files=1):
            os.symlink(target, name, dir_fd=self._nodes.pin(parent))
            try:
                self._set_owner(parent, name, ctx)
            except BaseException:
                os.unlink(name, dir_fd=self._nodes.pin(parent))
                raise
        return self._looked_up(parent, name)

    async def link(
        self, inode: int, new_parent_inode: int, new_name: bytes, ctx: RequestContext
    ) -> EntryAttributes:
        node, parent = self._nodes[inode], self._nodes[new_parent_inode]
        self._check_change(ctx, node)
        self._check_name(ctx, parent, new_name)
        os.link(self._nodes.path(node), new_name, dst_dir_fd=self._nodes.pin(parent))
        return self._looked_up(parent, new_name)

    async def unlink(self, parent_inode: int, name: bytes, ctx: RequestContext) -> None:
        parent = self._nodes[parent_inode]
        self._check_name(ctx, parent, name)
        node, st = self._target(parent, name)
        os.unlink(name, dir_fd=self._nodes.pin(parent))
        self._name_removed(node, st)

    async def rmdir(self, parent_inode: int, name: bytes, ctx: RequestContext) -> None:
        parent = self._nodes[parent_inode]
        self._check_name(ctx, parent, name)
        node, st = self._target(parent, name)
        os.rmdir(name, dir_fd=self._nodes.pin(parent))
        self._name_removed(node, st)

    async def rename(
        self,
        parent_inode_old: int,
        name_old: bytes,
        parent_inode_new: int,
        name_new: bytes,
        flags: int,
        ctx: RequestContext,
    ) -> None:
        old, new = self._nodes[parent_inode_old], self._nodes[parent_inode_new]
        self._check_name(ctx, old, name_old)
        self._check_name(ctx, new, name_new)
        if flags not in (0, files.RENAME_NOREPLACE, files.RENAME_EXCHANGE):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))  # RENAME_WHITEOUT
        replaced = None
        if flags == 0:
            try:
                replaced = self._target(new, name_new)
            except FileNotFoundError:
                pass
            else:
                moved = os.stat(name_old, dir_fd=self._nodes.pin(old), follow_symlinks=False)
                if moved.st_ino == replaced[1].st_ino:
                    replaced = None  # two names of one inode: rename(2) does nothing then
        files.rename(self._nodes.pin(old), name_old, self._nodes.pin(new), name_new, flags)
        if replaced is not None:
            self._name_removed(*replaced)

    def _target(self, parent: Node, name: bytes) -> tuple[Node | None, os.stat_result]:
        """The inode whose name is about to be removed; its node, pinned while it has a name, where
        the kernel knows it.
        """
        st = os.stat(name, dir_fd=self._nodes.pin(parent), follow_symlinks=False)
        if self._nodes.known(st.st_ino) is None:
            return None, st
        return self._nodes.find(parent, name)

    def _name_removed(self, node: Node | None, st: os.stat_result) -> None:
        """A name was removed; `st` is what it was before."""
        if not stat.S_ISDIR(st.st_mode) and st.st_nlink > 1:
            return
        if node is None:
            self._quota.take(-charge_of_stat(st), -1)
        else:
            self._nodes.keep(node)
            self._uncount(node)

    def _set_owner(self, parent: Node, name: bytes, ctx: RequestContext) -> None:
        """Make the caller the owner of a new inode."""
        uid, gid = self._owner(parent, ctx)
        if (uid, gid) not in ((0, 0), (0, -1)):
            os.chown(name, uid, gid, dir_fd=self._nodes.pin(parent), follow_symlinks=False)

    def _make_file(
        self, parent: Node, name: bytes, mode: int, flags: int, ctx: RequestContext
    ) -> int:
        """Create a regular file owned by the caller and return its descriptor.

        Raises OSError EEXIST where the name was made in the store by hand: the kernel holds the
        directory's lock.
        """
        exclusive = flags | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        fd = os.open(name, exclusive, stat.S_IMODE(mode), dir_fd=self._nodes.pin(parent))
        try:
            uid, gid = self._owner(parent, ctx)
            if (uid, gid) not in ((0, 0), (0, -1)):
                os.fchown(fd, uid, gid)
                if mode & (stat.S_ISUID | stat.S_ISGID):
                    os.fchmod(fd, stat.S_IMODE(mode))  # chown(2) has cleared them
        except BaseException:
            os.close(fd)
            os.unlink(name, dir_fd=self._nodes.pin(parent))
            raise
        return fd
