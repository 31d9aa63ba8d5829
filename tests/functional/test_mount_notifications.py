"""A mount that comes or goes is noticed, whatever its watcher does at that moment."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from tambourinefs.agent.silo import watch
from tambourinefs.mount.mounts import MountWatch, bind, find
from tambourinefs.treewatch import TreeWatch

pytestmark = pytest.mark.trio

SECONDS = 5.0  # a notification takes less than a millisecond


@pytest.fixture
def bound(tmp_path: Path) -> Iterator[Path]:
    """A bind mount: inotify does not tell that it goes, since its file system stays."""
    place, source = tmp_path / "silo", tmp_path / "source"
    place.mkdir()
    source.mkdir()
    bind(source, place)
    yield place
    while find(place):
        unmount(place)


def unmount(place: Path) -> None:
    subprocess.run(["umount", "--lazy", place], check=True)


async def test_a_change_before_the_wait_ends_it(bound: Path) -> None:
    with MountWatch() as mounts:
        unmount(bound)
        with trio.fail_after(SECONDS):
            await mounts.wait()


async def test_a_change_between_two_waits_ends_the_second(bound: Path) -> None:
    with MountWatch() as mounts:
        bind(bound, bound)
        with trio.fail_after(SECONDS):
            await mounts.wait()
        unmount(bound)
        with trio.fail_after(SECONDS):
            await mounts.wait()


async def test_silo_unmounted_while_its_watch_is_made_is_read_again(
    bound: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched: list[int] = []

    class GoesAtFirst(TreeWatch):
        def __init__(self, root: Path, depth: int) -> None:
            super().__init__(root, depth)
            if not watched:
                unmount(bound)
            watched.append(1)

    monkeypatch.setattr(watch, "TreeWatch", GoesAtFirst)
    to_read: list[object] = []
    again = trio.Event()

    def notify(keys: object) -> None:
        to_read.append(keys)
        if len(to_read) == 2:
            again.set()

    with trio.fail_after(SECONDS):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch.watch_silo, bound, notify)
            await again.wait()
            nursery.cancel_scope.cancel()
    assert to_read == [None, None]
    assert len(watched) == 2
