"""The status mount's handlers: thin, over the status store. Read-only; nothing here waits for
D-Bus, systemd or journald.

What the kernel may keep: a cached file's name and attributes until they are invalidated, every
rendering's pages for good (a rendering never changes), the name of a live file for what is left of
the second that its rendering is shared for.
"""

from __future__ import annotations

import errno
import itertools
import os
import select
import stat
from typing import TYPE_CHECKING, Final

from pyfuse3 import FileHandleT, FileNameT, FlagT, InodeT, ModeT

from tambourinefs import fuse
from tambourinefs.procfs.events import EventReader
from tambourinefs.procfs.tree import Directory, Rendering, Slot, Stream

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tambourinefs.procfs.store import StatusStore
    from tambourinefs.procfs.tree import AnyInode

_FOREVER: Final = 365 * 86400.0  # seconds; ended by an invalidation
_BLOCK: Final = 4096
_READABLE: Final = select.POLLIN | select.POLLRDNORM

Child = Directory | Slot | Stream


class StatusOperations(fuse.Operations):
    """A status store as a file system. `groups`: gid by group name; a group that is not there is
    root's.
    """

    def __init__(
        self, store: StatusStore, invalidator: fuse.Invalidator, groups: Mapping[str, int]
    ) -> None:
        super().__init__()
        self._invalidator = invalidator
        self._store = store
        self._inodes = store.inodes
        self._groups = groups
        self._handles = itertools.count(1)
        self._open: dict[int, Rendering | EventReader] = {}
        self._listings: dict[int, tuple[Directory, list[tuple[bytes, Child]]]] = {}

    def init(self) -> None:
        """The kernel has initialized the mount; before that it takes no invalidations."""
        self._store.readers.attach(self._invalidator)

    # --- names
    # -----------------------------------------------------------------------------------------------------

    async def lookup(
        self, parent_inode: InodeT, name: FileNameT, ctx: fuse.RequestContext
    ) -> fuse.EntryAttributes:
        child = self._directory(parent_inode).children.get(name)
        if child is None:
            raise fuse.FUSEError(errno.ENOENT)
        node = await self._node(child)
        node.lookups += 1
        return self._attributes(node)

    async def _node(self, child: Child) -> Directory | Rendering | Stream:
        if not isinstance(child, Slot):
            return child
        rendering = await self._store.renderer.current(child)
        if child.directory.removed:  # withdrawn while it was rendered
            self._inodes.collect(rendering)
            raise fuse.FUSEError(errno.ENOENT)
        return rendering

    async def forget(self, inode_list: Sequence[tuple[InodeT, int]]) -> None:
        for inode, count in inode_list:
            self._inodes.forget(inode, count)

    def _known(self, inode: int) -> AnyInode:
        node = self._inodes.get(inode)
        if node is None:  # a placeholder of a listing: the kernel looks the name up again
            raise fuse.FUSEError(errno.ESTALE)
        return node

    def _directory(self, inode: int) -> Directory:
        node = self._known(inode)
        if not isinstance(node, Directory):
            raise fuse.FUSEError(errno.ENOTDIR)
        return node

    # --- attributes
    # ------------------------------------------------------------------------------------------------

    async def getattr(self, inode: InodeT, ctx: fuse.RequestContext) -> fuse.EntryAttributes:
        return self._attributes(self._known(inode))

    def _attributes(self, node: AnyInode) -> fuse.EntryAttributes:
        entry = fuse.EntryAttributes()
        entry.st_ino = InodeT(node.inode)
        entry.attr_timeout = _FOREVER
        entry.st_blksize = _BLOCK
        if isinstance(node, Directory):
            return self._of_directory(entry, node)
        entry.st_nlink = 1
        if isinstance(node, Stream):
            entry.st_mode = ModeT(stat.S_IFREG | 0o444)
            entry.entry_timeout = _FOREVER
            return _at(entry, node.made_ns)
        spec = node.slot.spec
        entry.st_mode = ModeT(stat.S_IFREG | spec.mode)
        entry.st_gid = self._groups.get(spec.group, 0)
        entry.st_size = len(node.content)
        entry.st_blocks = -(-len(node.content) // 512)
        entry.entry_timeout = self._store.renderer.seconds_left(node) if spec.live else _FOREVER
        return _at(entry, node.made_ns)

    def _of_directory(self, entry: fuse.EntryAttributes, node: Directory) -> fuse.EntryAttributes:
        entry.st_mode = ModeT(stat.S_IFDIR | 0o555)
        subdirectories = sum(isinstance(child, Directory) for child in node.children.values())
        entry.st_nlink = 0 if node.removed else 2 + subdirectories
        entry.entry_timeout = _FOREVER
        return _at(entry, node.changed_ns)

    def _placeholder(self, slot: Slot) -> fuse.EntryAttributes:
        """What a listing says of a live file: its kind. Its name expires at once."""
        entry = fuse.EntryAttributes()
        entry.st_ino = InodeT(slot.placeholder)
        entry.st_mode = ModeT(stat.S_IFREG | slot.spec.mode)
        entry.st_nlink = 1
        entry.entry_timeout = entry.attr_timeout = 0
        return entry

    async def statfs(self, ctx: fuse.RequestContext) -> fuse.StatvfsData:
        found = fuse.StatvfsData()
        found.f_bsize = found.f_frsize = _BLOCK
        found.f_files = len(self._inodes)
        found.f_namemax = 255
        return found

    # --- directories
    # -----------------------------------------------------------------------------------------------

    async def opendir(self, inode: InodeT, ctx: fuse.RequestContext) -> FileHandleT:
        directory = self._directory(inode)
        handle = next(self._handles)
        # A copy: entries that come and go meanwhile do not shift the reader's offset.
        self._listings[handle] = directory, list(directory.children.items())
        return FileHandleT(handle)

    async def readdir(self, fh: FileHandleT, start_id: int, token: fuse.ReaddirToken) -> None:
        directory, entries = self._listings[fh]
        for place in range(start_id, len(entries)):
            name, child = entries[place]
            if directory.children.get(name) is not child:
                continue
            if isinstance(child, Slot) and child.spec.live:
                # Rendering `services.json` for each `ls` would cost a second on a large host.
                if not fuse.readdir_reply(token, name, self._placeholder(child), place + 1):
                    return
                continue
            node = await self._node(child)
            if not fuse.readdir_reply(token, name, self._attributes(node), place + 1):
                self._inodes.collect(node)
                return
            node.lookups += 1

    async def releasedir(self, fh: FileHandleT) -> None:
        del self._listings[fh]

    # --- files
    # -----------------------------------------------------------------------------------------------------

    async def open(self, inode: InodeT, flags: FlagT, ctx: fuse.RequestContext) -> fuse.FileInfo:
        node = self._known(inode)
        if isinstance(node, Directory):
            raise fuse.FUSEError(errno.EISDIR)
        if flags & os.O_ACCMODE != os.O_RDONLY:
            raise fuse.FUSEError(errno.EROFS)
        handle = FileHandleT(next(self._handles))
        if isinstance(node, Stream):
            self._open[handle] = EventReader(self._store.events)
            return fuse.FileInfo(fh=handle, direct_io=True, nonseekable=True)
        self._open[handle] = node
        self._store.readers.opened(node)
        return fuse.FileInfo(fh=handle, keep_cache=True)

    async def read(self, fh: FileHandleT, off: int, size: int) -> bytes:
        held = self._open[fh]
        if isinstance(held, EventReader):
            return held.read(off, size)
        return held.content[off : off + size]

    async def release(self, fh: FileHandleT) -> None:
        held = self._open.pop(fh)
        if isinstance(held, EventReader):
            self._store.readers.of_events.pop(fh, None)
        else:
            self._store.readers.closed(held, fh)

    async def poll(
        self,
        inode: InodeT,
        fh: FileHandleT,
        poll_handle: fuse.PollHandle | None,
        ctx: fuse.RequestContext,
    ) -> int:
        held = self._open[fh]
        if isinstance(held, EventReader):
            if poll_handle is not None:
                self._store.readers.of_events[fh] = poll_handle
            return (_READABLE if held.ready else 0) | (select.POLLPRI if held.outdated else 0)
        if poll_handle is not None:
            held.pollers[fh] = poll_handle
        return _READABLE | (select.POLLPRI if held.notified else 0)


def _at(entry: fuse.EntryAttributes, when_ns: int) -> fuse.EntryAttributes:
    entry.st_mtime_ns = entry.st_ctime_ns = entry.st_atime_ns = when_ns
    return entry
