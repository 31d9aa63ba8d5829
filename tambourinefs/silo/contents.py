"""Handlers of open files and directories: read, write, truncate, flush to the disk.

Calls that may wait for the disk run in a worker thread, so that an fsync delays no other request;
what comes from the page cache is answered at once, since a thread costs more than the copy.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import stat
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar, cast

import trio

from tambourinefs.fuse import (
    EntryAttributes,
    FileInfo,
    FUSEError,
    ReaddirToken,
    RequestContext,
    SetattrFields,
    StatvfsData,
    readdir_reply,
)
from tambourinefs.silo import syscalls
from tambourinefs.silo.base import ID_NAME, OpenFile
from tambourinefs.silo.names import Names
from tambourinefs.silo.nodes import Node
from tambourinefs.silo.quota import charge_of

T = TypeVar("T")

_THREADS: Final = 16
_REQUEST: Final = 1 << 20  # the most that the kernel asks for at once (fuse: max_pages)
_DIRECTORY_BUFFER: Final = 32768
# The flags of open(2) that are passed to the store. Not O_APPEND: the kernel has computed the
# offset, which pwrite(2) would ignore. Not O_DIRECT: the pages of a request are not aligned for it.
_STORE_FLAGS: Final = os.O_ACCMODE | os.O_SYNC | os.O_DSYNC | os.O_NOATIME


class Contents(Names):
    """Files and directories by their handles, which are descriptors on the store."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._limiter = trio.CapacityLimiter(_THREADS)
        self._buffer = memoryview(mmap.mmap(-1, _REQUEST))
        self._entries = ctypes.create_string_buffer(_DIRECTORY_BUFFER)

    async def open(self, inode: int, flags: int, ctx: RequestContext) -> FileInfo:
        node = self._nodes[inode]
        if flags & os.O_ACCMODE != os.O_RDONLY or flags & os.O_TRUNC:
            self._check_change(ctx, node)
        if not node.counted:  # unlinked and closed, and found again through an O_PATH descriptor
            self._quota.take(node.charge, 1)
            node.counted = True
        try:
            if flags & os.O_TRUNC:
                self._resize(node, 0)
            fd = os.open(self._nodes.path(node), flags & _STORE_FLAGS | os.O_CLOEXEC)
        except BaseException:
            self._uncount(node)
            raise
        return self._opened(fd, node, flags)

    async def create(
        self, parent_inode: int, name: bytes, mode: int, flags: int, ctx: RequestContext
    ) -> tuple[FileInfo, EntryAttributes]:
        parent = self._nodes[parent_inode]
        self._check_name(ctx, parent, name)
        with self._counted(files=1):
            fd = self._make_file(parent, name, mode, flags & _STORE_FLAGS, ctx)
        try:
            entry = self._looked_up(parent, name)
        except BaseException:
            os.close(fd)
            raise
        return self._opened(fd, self._nodes[entry.st_ino], flags), entry

    def _opened(self, fd: int, node: Node, flags: int) -> FileInfo:
        node.opens += 1
        node.held = fd
        self._open[fd] = OpenFile(fd, node, bool(flags & (os.O_SYNC | os.O_DSYNC)))
        return FileInfo(fh=fd, keep_cache=True)

    async def release(self, fh: int) -> None:
        file = self._open.pop(fh)
        node = file.node
        if node.held == file.fd:
            node.held = -1
        os.close(file.fd)
        node.opens -= 1
        self._uncount(node)
        self._nodes.drop_unused(node)

    async def read(self, fh: int, off: int, size: int) -> bytes:
        """From the page cache at once, into one shared buffer: pyfuse3 sends the answer before
        anything else runs. From the disk in a thread.
        """
        fd = self._open[fh].fd
        view = self._buffer[:size]
        try:
            got = os.preadv(fd, [view], off, os.RWF_NOWAIT)
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EOPNOTSUPP):
                raise
            got = -1
        if got == size or (got >= 0 and off + got >= os.fstat(fd).st_size):
            return cast(bytes, view[:got])
        return await self._in_thread(os.pread, fd, size, off)

    async def write(self, fh: int, off: int, buf: bytes) -> int:
        file = self._open[fh]
        node = file.node
        more = charge_of(off + len(buf)) - node.charge
        if more > 0:
            self._quota.take(more)
            node.charge += more
        node.in_flight += 1
        written = 0
        try:
            if file.synchronous:
                written = await self._in_thread(os.pwrite, file.fd, buf, off)
            else:
                written = os.pwrite(file.fd, buf, off)
        finally:
            node.in_flight -= 1
            if written < len(buf) and node.in_flight == 0:
                self._recount(node, file.fd)
        return written

    async def fsync(self, fh: int, datasync: bool) -> None:
        await self._in_thread(os.fdatasync if datasync else os.fsync, self._open[fh].fd)

    async def setattr(
        self,
        inode: int,
        attr: EntryAttributes,
        fields: SetattrFields,
        fh: int | None,
        ctx: RequestContext,
    ) -> EntryAttributes:
        node = self._nodes[inode]
        self._check_change(ctx, node)
        if fields.update_size:
            self._resize(node, attr.st_size)
        if fields.update_uid or fields.update_gid:
            uid = attr.st_uid if fields.update_uid else -1
            os.chown(self._place(node), uid, attr.st_gid if fields.update_gid else -1)
        if fields.update_mode:  # after chown(2), which clears setuid
            os.chmod(self._place(node), stat.S_IMODE(attr.st_mode))
        if fields.update_atime or fields.update_mtime:
            syscalls.set_times(
                self._nodes.pin(node),
                attr.st_atime_ns if fields.update_atime else None,
                attr.st_mtime_ns if fields.update_mtime else None,
            )
        return self._attributes(node)

    def _place(self, node: Node) -> int | bytes:
        """The inode for chmod and chown: a descriptor that a client holds, which costs less than a
        path.
        """
        return node.held if node.held >= 0 else self._nodes.path(node)

    async def opendir(self, inode: int, ctx: RequestContext) -> int:
        node = self._nodes[inode]
        fd = os.open(self._nodes.path(node), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._opened(fd, node, 0)
        return fd

    async def releasedir(self, fh: int) -> None:
        await self.release(fh)

    async def readdir(self, fh: int, start_id: int, token: ReaddirToken) -> None:
        """The store's own cookies (d_off) go to the kernel, so a listing continues correctly when
        entries come and go.
        """
        directory = self._open[fh]
        os.lseek(directory.fd, start_id, os.SEEK_SET)
        while entries := syscalls.read_directory(directory.fd, self._entries):
            for entry in entries:
                if not self._list(directory.node, entry, token):
                    return

    def _list(self, parent: Node, entry: syscalls.DirectoryEntry, token: ReaddirToken) -> bool:
        """Hand one entry to the kernel; False when its buffer is full."""
        if entry.name in (b".", b".."):
            return readdir_reply(token, entry.name, self._dots(entry), entry.cookie)
        if parent is self._root and entry.name == ID_NAME:
            return True  # hidden: the store has another file of this name
        try:
            node, st = self._nodes.find(parent, entry.name)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.EXDEV):
                return True
            raise
        if not readdir_reply(token, entry.name, self._attributes(node, st), entry.cookie):
            self._nodes.drop_unused(node)
            return False
        node.lookups += 1
        return True

    def _dots(self, entry: syscalls.DirectoryEntry) -> EntryAttributes:
        """`.` and `..` are names only: the kernel does not count them as lookups
        (fuse_direntplus_link).
        """
        attributes = EntryAttributes()
        attributes.st_ino = self._nodes.number_of(entry.inode)
        attributes.st_mode = stat.S_IFDIR | 0o755
        return attributes

    async def fsyncdir(self, fh: int, datasync: bool) -> None:
        await self._in_thread(os.fsync, self._open[fh].fd)

    async def _in_thread(self, call: Callable[..., T], *args: object) -> T:
        return await trio.to_thread.run_sync(call, *args, limiter=self._limiter)

    def _resize(self, node: Node, size: int) -> None:
        """truncate(2), counted: growth before, shrinking after.

        A file that is unlinked and closed but held by O_PATH does not count until it is opened
        again.
        """
        more = charge_of(size) - node.charge
        grown, shrunk = (max(more, 0), min(more, 0)) if node.counted else (0, 0)
        self._quota.take(grown)
        try:
            os.truncate(self._nodes.path(node), size)
        except BaseException:
            self._quota.take(-grown)
            raise
        self._quota.take(shrunk)
        node.charge += more

    def _recount(self, node: Node, fd: int) -> None:
        """A write failed or was short: count the file's actual size."""
        more = charge_of(os.fstat(fd).st_size) - node.charge
        self._quota.take(min(more, 0))
        node.charge += min(more, 0)


class Silo(Contents):
    """The whole file system."""

    async def statfs(self, ctx: RequestContext) -> StatvfsData:
        shown = StatvfsData()
        for name, value in self._quota.shown(os.fstatvfs(self._root.fd)).items():
            setattr(shown, name, value)
        return shown

    async def setxattr(self, inode: int, name: bytes, value: bytes, ctx: RequestContext) -> None:
        self._check_writer(ctx)
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    async def removexattr(self, inode: int, name: bytes, ctx: RequestContext) -> None:
        self._check_writer(ctx)
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    async def getxattr(self, inode: int, name: bytes, ctx: RequestContext) -> bytes:
        """ENOSYS, which the kernel remembers: otherwise it asks for security.capability before each
        write(2).
        """
        raise FUSEError(errno.ENOSYS)

    async def listxattr(self, inode: int, ctx: RequestContext) -> Sequence[bytes]:
        """As getxattr."""
        raise FUSEError(errno.ENOSYS)
