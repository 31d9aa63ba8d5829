"""A publish or a withdrawal while a rendering is made, which takes more than a moment."""

from __future__ import annotations

import errno
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, cast

import pytest
import trio

from tambourinefs.fuse import EntryAttributes, FUSEError, Invalidator
from tambourinefs.model.unit import Unit
from tambourinefs.model.view import ServiceView
from tambourinefs.procfs.host.cgroups import Cgroups
from tambourinefs.procfs.host.reader import HostReader, LocalZone
from tambourinefs.procfs.operations import StatusOperations
from tambourinefs.procfs.store import StatusStore
from tambourinefs.procfs.tree import ROOT, Directory


def view(description: str) -> ServiceView:
    unit = Unit("hello.service", id="hello.service", load_state="loaded", description=description)
    return ServiceView("local", "hello", "hello.service", unit=unit)


class Slow(HostReader):
    """A host whose process list is read only after another task has run in between."""

    between: Callable[[], None] | None = None

    async def with_processes(self, unit: Any, figures: Any) -> Any:
        await trio.lowlevel.checkpoint()
        between, self.between = self.between, None
        if between is not None:
            between()
        return figures


@pytest.fixture
def host(tmp_path: Path) -> Slow:
    return Slow(Cgroups(tmp_path), LocalZone(tmp_path / "localtime"))


class Reader:
    """The kernel, as far as lookups go."""

    def __init__(self, host: HostReader) -> None:
        self.store = StatusStore(host)
        self.store.complete()
        self.operations = StatusOperations(self.store, Invalidator(self.store.readers.resync), {})

    def _inode(self, *names: bytes) -> int:
        node = self.store.root
        for name in names:
            node = cast(Directory, node.children[name])
        return node.inode

    def look(self, *path: bytes) -> Awaitable[EntryAttributes]:
        parent = self._inode(*path[:-1]) if len(path) > 1 else ROOT
        return self.operations.lookup(cast(Any, parent), cast(Any, path[-1]), cast(Any, None))


def test_rendering_outdated_while_made_is_not_cached(host: Slow) -> None:
    """Kept for a second, its name would lead whoever was just woken to the same old inode, again and again."""

    async def main() -> None:
        reader = Reader(host)
        reader.store.publish(view("before"))
        host.between = lambda: reader.store.publish(view("after"))
        old = await reader.look(b"local", b"hello", b"status")
        assert old.entry_timeout == 0
        new = await reader.look(b"local", b"hello", b"status")
        assert new.st_ino != old.st_ino
        assert 0 < new.entry_timeout <= 1

    trio.run(main)


def test_rendering_of_a_withdrawn_service_is_released(host: Slow) -> None:
    async def main() -> None:
        reader = Reader(host)
        empty = len(reader.store.inodes)
        for _ in range(3):
            reader.store.publish(view("here"))
            host.between = lambda: reader.store.withdraw("local", "hello")
            with pytest.raises(FUSEError) as refused:
                await reader.look(b"local", b"hello", b"status")
            assert refused.value.errno == errno.ENOENT
            assert len(reader.store.inodes) == empty

    trio.run(main)


def test_overviews_exist_only_after_complete(host: Slow) -> None:
    """An agent that was just started would else say for a moment that there are none."""

    async def main() -> None:
        store = StatusStore(host)
        operations = StatusOperations(store, Invalidator(store.readers.resync), {})

        async def look(name: bytes) -> EntryAttributes:
            return await operations.lookup(cast(Any, ROOT), cast(Any, name), cast(Any, None))

        await look(b"version.txt")
        for name in (b"services.txt", b"services.json", b"metrics.prom"):
            with pytest.raises(FUSEError) as refused:
                await look(name)
            assert refused.value.errno == errno.ENOENT
        store.publish(view("here"))
        with pytest.raises(FUSEError):
            await look(b"services.json")
        store.complete()
        store.complete()
        assert (await look(b"services.json")).st_size > len("[]\n")

    trio.run(main)
