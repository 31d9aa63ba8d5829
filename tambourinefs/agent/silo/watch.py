"""Watches the silo: inotify on its tree, and /proc/self/mountinfo, since a mount that dies or is made
again gives no inotify event. It notifies of services whose files changed; None: any may have.
"""

from __future__ import annotations

import contextlib
import logging
import os
from typing import TYPE_CHECKING, Final

import trio

from tambourinefs import files
from tambourinefs.errors import OutOfSpace
from tambourinefs.mount.mounts import MountWatch
from tambourinefs.treewatch import Kind, TreeWatch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from tambourinefs.model.names import NamespacedName
    from tambourinefs.treewatch import Change

log = logging.getLogger(__name__)

DEPTH: Final = 2  # silo/<namespace>/<name>/
RETRY: Final = 5.0  # seconds until all is read again without inotify (its limits are reached)


async def watch_silo(path: Path, notify: Callable[[set[NamespacedName] | None], None]) -> None:
    """A task: notify of services whose files changed; None: any may have. Starts with None."""
    with contextlib.ExitStack() as stack:
        mounts = stack.enter_context(MountWatch())
        while True:
            # In this order: `mounts` wakes for a mount that changes after the first line.
            watched = await trio.to_thread.run_sync(_mount_at, path)
            tree = await trio.to_thread.run_sync(_watch, path)
            notify(None)
            try:
                await _until_remounted(path, watched, tree, mounts, notify)
            finally:
                if tree is not None:
                    tree.close()


def _watch(path: Path) -> TreeWatch | None:
    try:
        return TreeWatch(path, DEPTH)
    except (OSError, OutOfSpace) as error:
        log.warning("cannot watch the silo %s: %s", path, error)
        return None


async def _until_remounted(
    path: Path,
    watched: int,
    tree: TreeWatch | None,
    mounts: MountWatch,
    notify: Callable[[set[NamespacedName] | None], None],
) -> None:
    """Return when the mount at `path` is not `watched` any more, or the tree is gone."""
    async with trio.open_nursery() as nursery:

        async def files_change() -> None:
            assert tree is not None
            try:
                while not tree.gone:
                    await trio.lowlevel.wait_readable(tree.fileno())
                    changes = await trio.to_thread.run_sync(tree.read)
                    if changes:
                        notify(touched(changes))
            except (OSError, OutOfSpace) as error:
                log.warning("the silo %s is not watched any more: %s", path, error)
            nursery.cancel_scope.cancel()

        async def mounts_change() -> None:
            while True:
                await mounts.wait()
                if await trio.to_thread.run_sync(_mount_at, path) != watched:
                    nursery.cancel_scope.cancel()

        async def time_passes() -> None:
            await trio.sleep(RETRY)
            nursery.cancel_scope.cancel()

        nursery.start_soon(time_passes if tree is None else files_change)
        nursery.start_soon(mounts_change)


def touched(changes: Iterable[Change]) -> set[NamespacedName] | None:
    """The services that changed; None: any may have (a namespace was removed, or events were lost)."""
    keys: set[NamespacedName] = set()
    for change in changes:
        parts = os.fsdecode(change.path).split("/")
        if change.kind is Kind.RESYNC:
            return None
        if len(parts) >= 2:
            keys.add((parts[0], parts[1]))
        elif change.kind is Kind.REMOVED:
            return None
    return keys


def _mount_at(path: Path) -> int:
    """The id of the mount at `path`, 0 where nothing can be opened; a dead FUSE mount still has its own."""
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return 0
    try:
        return files.mount_id(fd)
    finally:
        os.close(fd)
