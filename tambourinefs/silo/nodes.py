"""The inodes that the kernel knows: a node for each, pinned by a descriptor for as long as it is
known.

While a descriptor is open an inode number cannot be reused for another file. Descriptors are
bounded, so those longest unused are closed and opened again by file handle, which identifies an
inode for good; an unlinked one keeps its descriptor, since no handle opens it.
"""

from __future__ import annotations

import errno
import os
import stat
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from tambourinefs.silo import syscalls
from tambourinefs.silo.quota import charge_of

ROOT: Final = 1  # FUSE_ROOT_ID
_PIN: Final = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(eq=False, slots=True)
class Node:
    """An inode that the kernel knows (`lookups` > 0) or holds open (`opens` > 0)."""

    number: int  # of FUSE and st_ino
    handle: syscalls.Handle
    generation: int
    kind: int  # S_IFMT
    lookups: int = 0
    opens: int = 0
    in_flight: int = 0  # writes
    charge: int = 0  # bytes that it counts for in the quota …
    counted: bool = True  # … unless it is unlinked and closed
    unlinked: bool = False
    fd: int = -1  # O_PATH, or -1 while not pinned
    held: int = -1  # the last descriptor that a client opened, or -1: saves a path lookup


class NodeTable:
    """Nodes by their number; `root` is the descriptor of the served directory and stays the
    caller's.
    """

    def __init__(self, root: int, max_pins: int) -> None:
        st = os.fstat(root)
        self._store = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=root)
        self._device = st.st_dev
        self._root_inode = st.st_ino
        self._max_pins = max_pins
        # Those that may be closed, longest unused first.
        self._pinned: OrderedDict[int, Node] = OrderedDict()
        handle = syscalls.handle_of(root)
        self.root = Node(ROOT, handle, handle.generation, stat.S_IFDIR, lookups=1, fd=root)
        self._nodes: dict[int, Node] = {ROOT: self.root}

    def __getitem__(self, number: int) -> Node:
        """Raises OSError ESTALE for a number that the kernel should not know."""
        try:
            return self._nodes[number]
        except KeyError:
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE)) from None

    def __len__(self) -> int:
        return len(self._nodes)

    def number_of(self, inode: int) -> int:
        """The store's inode number in FUSE: the root is 1, and an inode that is 1 in the store gets
        the root's number.
        """
        if inode == self._root_inode:
            return ROOT
        return self._root_inode if inode == ROOT else inode

    def pin(self, node: Node) -> int:
        """The node's O_PATH descriptor, opened again where it was closed. Good until the next call.

        Raises OSError ESTALE where the inode is gone (the store was changed by hand).
        """
        if node.fd < 0:
            node.fd = syscalls.open_handle(self._store, node.handle, _PIN)
            self._remember(node)
        elif node.number in self._pinned:
            self._pinned.move_to_end(node.number)
        return node.fd

    def path(self, node: Node) -> bytes:
        """A path to the inode itself, also a link's own, for calls that take no O_PATH descriptor
        (proc(5), fd).
        """
        return b"/proc/self/fd/%d" % self.pin(node)

    def find(self, parent: Node, name: bytes) -> tuple[Node, os.stat_result]:
        """The node behind a name, made where it is not known yet. It is not counted as looked up.

        Raises OSError: ENOENT, EXDEV for another file system mounted in the store.
        """
        return self.find_at(self.pin(parent), name)

    def find_at(self, directory: int, name: bytes) -> tuple[Node, os.stat_result]:
        """As find, below a descriptor."""
        fd = os.open(name, _PIN, dir_fd=directory)
        try:
            st = os.fstat(fd)
            if st.st_dev != self._device:
                raise OSError(errno.EXDEV, "a mount inside the store", name)
            node = self._nodes.get(self.number_of(st.st_ino))
            if node is not None and node.fd >= 0:
                self.pin(node)  # marked as used: an unlink that follows must find it pinned
                return node, st  # pinned, so the number is still the same file's
            handle = syscalls.handle_of(fd)
            if node is None:
                node = self._new(st, handle)
            elif node.handle != handle:
                self._reuse(node, st, handle)
            node.fd, fd = fd, -1
            self._remember(node)
            return node, st
        finally:
            if fd >= 0:
                os.close(fd)

    def forget(self, number: int, count: int) -> None:
        """The kernel drops `count` of its lookups."""
        node = self._nodes.get(number)
        if node is None or node is self.root:
            return
        node.lookups -= count
        self.drop_unused(node)

    def drop_unused(self, node: Node) -> None:
        """Release a node that is neither known nor open."""
        if node.lookups > 0 or node.opens > 0 or node is self.root:
            return
        self._nodes.pop(node.number, None)
        self._pinned.pop(node.number, None)
        if node.fd >= 0:
            os.close(node.fd)
            node.fd = -1

    def keep(self, node: Node) -> None:
        """The node's last name is about to be removed: from now on only its descriptor refers to
        it.
        """
        self.pin(node)
        node.unlinked = True
        self._pinned.pop(node.number, None)

    def close(self) -> None:
        """Close all descriptors but the root's."""
        for node in list(self._nodes.values()):
            node.lookups = node.opens = 0
            self.drop_unused(node)
        os.close(self._store)

    def known(self, inode: int) -> Node | None:
        """The node of a store's inode number, if there is one."""
        return self._nodes.get(self.number_of(inode))

    def _new(self, st: os.stat_result, handle: syscalls.Handle) -> Node:
        node = Node(self.number_of(st.st_ino), handle, handle.generation, stat.S_IFMT(st.st_mode))
        node.charge = charge_of_stat(st)
        self._nodes[node.number] = node
        return node

    def _reuse(self, node: Node, st: os.stat_result, handle: syscalls.Handle) -> None:
        """The number was reused for another file while the kernel still counts lookups of the old
        one.

        The kernel sees the new generation and fails requests on the old inode (fuse_stale_inode);
        lookups are forgotten by number, so the count continues.
        """
        node.handle, node.generation = handle, handle.generation
        node.kind, node.charge, node.unlinked = stat.S_IFMT(st.st_mode), charge_of_stat(st), False
        node.counted, node.held = True, -1

    def _remember(self, node: Node) -> None:
        if node.unlinked:
            return
        self._pinned[node.number] = node
        while len(self._pinned) > self._max_pins:
            _, oldest = self._pinned.popitem(last=False)
            os.close(oldest.fd)
            oldest.fd = -1


def charge_of_stat(st: os.stat_result) -> int:
    """What an inode counts for in the quota: regular files and links by size, all else nothing."""
    if stat.S_ISREG(st.st_mode) or stat.S_ISLNK(st.st_mode):
        return charge_of(st.st_size)
    return 0
