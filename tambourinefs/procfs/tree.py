"""Names, inodes and services of the status file system, and how long each lives. No FUSE: numbers,
counts, dictionaries.

A *slot* is a name in a directory; a *rendering* is an immutable inode with one content that a slot
had at one time. A change gives the slot a new rendering under a new number, so no reader ever sees
two contents mixed. Numbers are never used twice. A rendering that is no longer current lives until
the kernel has forgotten it and no descriptor is open on it.
"""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import trio

    from tambourinefs.fuse import PollHandle
    from tambourinefs.model.view import ServiceView
    from tambourinefs.procfs.render.files import FileSpec

ROOT: Final = 1


class Inode:
    """Anything with an inode number; `lookups` is the kernel's reference count
    (fuse_lowlevel_ops.lookup).
    """

    __slots__ = ("inode", "lookups")

    def __init__(self, inode: int) -> None:
        self.inode = inode
        self.lookups = 0


class Directory(Inode):
    """A directory. `removed`: it has no name any more."""

    __slots__ = ("changed_ns", "children", "name", "parent", "removed")

    def __init__(self, inode: int, parent: Directory | None, name: bytes, now_ns: int) -> None:
        super().__init__(inode)
        self.parent = parent
        self.name = name
        self.children: dict[bytes, Directory | Slot | Stream] = {}
        self.changed_ns = now_ns
        self.removed = False


class Slot:
    """A name in a directory that stands for one rendering after the other. `service`: None for
    files of the top level.
    """

    __slots__ = (
        "current",
        "directory",
        "lock",
        "name",
        "placeholder",
        "service",
        "spec",
        "watched",
    )

    def __init__(
        self, directory: Directory, spec: FileSpec, placeholder: int, service: Service | None
    ) -> None:
        self.directory = directory
        self.spec = spec
        self.name = spec.name.encode()
        self.service = service
        self.current: Rendering | None = None
        self.placeholder = placeholder  # the number that a listing shows before the first lookup
        self.watched: set[Rendering] | None = None  # open, and current when last compared
        self.lock: trio.Lock | None = None  # held while it is rendered, where that waits


class Rendering(Inode):
    """One immutable content of a slot.

    `stale`: the name has another content now. `notified`: the kernel's caches know it too, so that
    opening the name again gives the new content; only then poll(2) reports POLLPRI.
    """

    __slots__ = (
        "born",
        "content",
        "made_ns",
        "notified",
        "opens",
        "pollers",
        "revision",
        "slot",
        "stale",
    )

    def __init__(
        self, inode: int, slot: Slot, content: bytes, *, revision: int, born: float, made_ns: int
    ) -> None:
        super().__init__(inode)
        self.slot = slot
        self.content = content
        self.revision = revision  # of the view that it was rendered from
        self.born = born  # trio.current_time() when it was last current
        self.made_ns = made_ns  # st_mtime
        self.opens = 0
        self.stale = False
        self.notified = False
        self.pollers: dict[int, PollHandle] = {}  # by file handle

    def notify(self) -> None:
        """All earlier invalidations are done. On the Invalidator's thread: sets, then reads; poll()
        stores, then reads.
        """
        self.notified = True
        for handle in list(self.pollers.values()):
            handle.notify()


class Stream(Inode):
    """A file that each descriptor reads at its own pace (`events.log`)."""

    __slots__ = ("made_ns", "name")

    def __init__(self, inode: int, name: bytes, made_ns: int) -> None:
        super().__init__(inode)
        self.name = name
        self.made_ns = made_ns


AnyInode = Directory | Rendering | Stream


class Inodes:
    """The table of inodes that the kernel may name."""

    def __init__(self) -> None:
        self._numbers = itertools.count(ROOT)
        self._by_number: dict[int, AnyInode] = {}

    def __len__(self) -> int:
        return len(self._by_number)

    def number(self) -> int:
        """A number that was never used before."""
        return next(self._numbers)

    def add(self, node: AnyInode) -> None:
        self._by_number[node.inode] = node

    def get(self, inode: int) -> AnyInode | None:
        return self._by_number.get(inode)

    def all(self) -> Iterator[AnyInode]:
        """All of them, as they are now; may be called from another thread."""
        return iter(list(self._by_number.values()))

    def forget(self, inode: int, count: int) -> None:
        """The kernel has dropped `count` references."""
        node = self._by_number.get(inode)
        if node is not None:
            node.lookups = max(node.lookups - count, 0)
            self.collect(node)

    def collect(self, node: AnyInode) -> None:
        """Release the inode where neither a name, nor the kernel, nor a descriptor refers to it."""
        if node.lookups:
            return
        if isinstance(node, Directory):
            if node.removed:
                self._by_number.pop(node.inode, None)
        elif isinstance(node, Rendering) and not node.opens:
            self._by_number.pop(node.inode, None)
            if node.slot.current is node:
                node.slot.current = (
                    None  # rendered again by the next lookup: unread files cost no memory
                )


class Service:
    """One published service: its view, and which publish it came with."""

    __slots__ = ("directory", "published_ns", "revision", "view")

    def __init__(self, view: ServiceView, directory: Directory, revision: int) -> None:
        self.directory = directory
        self.show(view, revision)

    def show(self, view: ServiceView, revision: int) -> None:
        self.view = view
        self.revision = revision
        self.published_ns = time.time_ns()


class Services:
    """All of them. `revision` rises with every change of any. `expirations`: when each of this
    host's certificates expires, in seconds since 1970.
    """

    def __init__(self) -> None:
        self.revision = 0
        self.expirations: Mapping[str, float] = {}
        self._by_name: dict[tuple[str, str], Service] = {}

    def __len__(self) -> int:
        return len(self._by_name)

    def get(self, namespace: str, name: str) -> Service | None:
        return self._by_name.get((namespace, name))

    def add(self, view: ServiceView, directory: Directory) -> Service:
        self.revision += 1
        made = Service(view, directory, self.revision)
        self._by_name[view.namespace, view.name] = made
        return made

    def show(self, service: Service, view: ServiceView) -> None:
        self.revision += 1
        service.show(view, self.revision)

    def remove(self, namespace: str, name: str) -> Service | None:
        self.revision += 1
        return self._by_name.pop((namespace, name), None)

    def views(self) -> list[ServiceView]:
        """All views, by namespace and name."""
        return [self._by_name[key].view for key in sorted(self._by_name)]

    def revision_of(self, slot: Slot) -> int:
        """The publish that the slot's content comes from: its service's last one; at the top level,
        the last of all.
        """
        return self.revision if slot.service is None else slot.service.revision
