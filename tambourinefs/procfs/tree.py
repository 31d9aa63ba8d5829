"""Names and inodes of the status file system, and how long each lives. No FUSE here: numbers, counts, dictionaries.

A *slot* is a name in a directory; a *rendering* is an immutable inode with one content that a slot had at one time. A change
gives the slot a new rendering under a new number, so no reader ever sees two contents mixed. Numbers are never
used twice. A rendering that is no longer current lives until the kernel has forgotten it and nobody holds it open.
"""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    import trio

    from tambourinefs.fuse import PollHandle
    from tambourinefs.model.view import ServiceView
    from tambourinefs.procfs.render.files import FileSpec

ROOT: Final = 1


class Node:
    """Anything with an inode number; `lookups` is how often the kernel was told of it and has not forgotten it."""

    __slots__ = ("inode", "lookups")

    def __init__(self, inode: int) -> None:
        self.inode = inode
        self.lookups = 0


class Directory(Node):
    """A directory. `gone`: nobody can look anything up in it any more."""

    __slots__ = ("changed_ns", "children", "gone", "name", "parent")

    def __init__(self, inode: int, parent: Directory | None, name: bytes, now_ns: int) -> None:
        super().__init__(inode)
        self.parent = parent
        self.name = name
        self.children: dict[bytes, Directory | Slot | Stream] = {}
        self.changed_ns = now_ns
        self.gone = False


class Slot:
    """A name in a directory that stands for one rendering after the other. `service` is None for the top level's files."""

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
        self.placeholder = placeholder  # the number that a listing shows before anybody looked
        self.watched: set[Rendering] | None = None  # open, and still true when last compared
        self.lock: trio.Lock | None = None  # held while it is rendered, where that waits


class Rendering(Node):
    """One immutable content of a slot.

    `stale`: the name says something else now. `told`: and the kernel knows, so that whoever opens the name anew gets that;
    only then poll(2) says POLLPRI.
    """

    __slots__ = (
        "born",
        "content",
        "made_ns",
        "opens",
        "pollers",
        "revision",
        "slot",
        "stale",
        "told",
    )

    def __init__(
        self, inode: int, slot: Slot, content: bytes, *, revision: int, born: float, made_ns: int
    ) -> None:
        super().__init__(inode)
        self.slot = slot
        self.content = content
        self.revision = revision  # of the view that it was rendered from
        self.born = born  # trio.current_time() when it was last found to be true
        self.made_ns = made_ns  # st_mtime
        self.opens = 0
        self.stale = False
        self.told = False
        self.pollers: dict[int, PollHandle] = {}  # by file handle

    def notify(self) -> None:
        """The bells before this were rung. On the Invalidator's thread: sets, then looks, as poll() stores, then looks."""
        self.told = True
        for handle in list(self.pollers.values()):
            handle.notify()


class Stream(Node):
    """A file that each descriptor reads at its own pace (`events.log`)."""

    __slots__ = ("made_ns", "name")

    def __init__(self, inode: int, name: bytes, made_ns: int) -> None:
        super().__init__(inode)
        self.name = name
        self.made_ns = made_ns


AnyNode = Directory | Rendering | Stream


class Inodes:
    """The table of inodes that the kernel may name."""

    def __init__(self) -> None:
        self._numbers = itertools.count(ROOT)
        self._nodes: dict[int, AnyNode] = {}

    def __len__(self) -> int:
        return len(self._nodes)

    def number(self) -> int:
        """A number that was never used before."""
        return next(self._numbers)

    def add(self, node: AnyNode) -> None:
        self._nodes[node.inode] = node

    def get(self, inode: int) -> AnyNode | None:
        return self._nodes.get(inode)

    def nodes(self) -> Iterator[AnyNode]:
        """All of them, as they are now; may be called from another thread."""
        return iter(list(self._nodes.values()))

    def forget(self, inode: int, count: int) -> None:
        """The kernel has dropped `count` references."""
        node = self._nodes.get(inode)
        if node is not None:
            node.lookups = max(node.lookups - count, 0)
            self.collect(node)

    def collect(self, node: AnyNode) -> None:
        """Let the node go where nobody can name it any more."""
        if node.lookups:
            return
        if isinstance(node, Directory):
            if node.gone:
                self._nodes.pop(node.inode, None)
        elif isinstance(node, Rendering) and not node.opens:
            self._nodes.pop(node.inode, None)
            if node.slot.current is node:
                node.slot.current = (
                    None  # rendered anew at the next look: what nobody sees costs no memory
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
    """All of them. `revision` rises with every change of any."""

    def __init__(self) -> None:
        self.revision = 0
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
        """Which publish the slot's content comes from: its service's last, or, at the top level, anybody's."""
        return self.revision if slot.service is None else slot.service.revision
