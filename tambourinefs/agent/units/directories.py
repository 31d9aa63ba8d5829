"""Changes of unit files: one that is edited, added or deleted by hand causes no D-Bus signal.

Watches the directories of systemd's unit search path (systemd.unit(5), "Unit File Load Path") and
their *.d, *.wants directories. It says which units changed; it never reads a unit file.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

import trio

from tambourinefs.errors import OutOfSpace
from tambourinefs.model import names
from tambourinefs.treewatch import Kind, TreeWatch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

log: Final = logging.getLogger(__name__)

TYPES: Final = frozenset({*names.UNIT_TYPES, *names.UNIT_TYPES_REFUSED})
RETRY: Final = 30.0  # seconds until a directory that was not there is tried again


def unit_of(path: bytes) -> str | None:
    """The unit whose file, drop-in or symlink lies at `path` below a unit directory; None: it may
    concern many.

    `a.service`, `a.service.d/x.conf`, `b.target.wants/a.service` are a.service. Of many:
    `service.d/` (all of a type), `a-.service.d/` (all that begin so), templates, and what has no
    unit's name.
    """
    parts = path.decode(errors="replace").split("/")
    last = parts[-1]
    if len(parts) > 1 and parts[0].endswith(".d"):
        last = parts[0]
    for kind in (".d", ".wants", ".requires", ".upholds"):
        last = last.removesuffix(kind)
    stem, dot, suffix = last.rpartition(".")
    if not dot or suffix not in TYPES or not stem or stem.endswith(("-", "@")):
        return None
    return last


async def watch_unit_directories(
    directories: Sequence[Path], changed: Callable[[str | None], None]
) -> None:
    """Call `changed` for every change below any of `directories`, for ever: with a unit's name, or
    with None for "any of them". A directory that is missing is tried every 30 seconds.
    """
    async with trio.open_nursery() as nursery:
        for directory in directories:
            nursery.start_soon(_watch_for_ever, directory, changed)


async def _watch_for_ever(directory: Path, changed: Callable[[str | None], None]) -> None:
    while True:
        try:
            watch = TreeWatch(directory, 1)
        except (OSError, OutOfSpace) as error:
            log.debug("%s is not watched: %s", directory, error)
            await trio.sleep(RETRY)
            continue
        changed(None)  # what happened before the watch
        try:
            await _watch(watch, changed)
        except (OSError, OutOfSpace) as error:
            log.warning("%s is not watched any more: %s", directory, error)
            await trio.sleep(RETRY)
        finally:
            watch.close()


async def _watch(watch: TreeWatch, changed: Callable[[str | None], None]) -> None:
    while not watch.gone:
        await trio.lowlevel.wait_readable(watch.fileno())
        for change in watch.read():
            if change.path.rpartition(b"/")[2].startswith(b"."):
                continue  # a temporary file; systemd reads none that is hidden
            changed(None if change.kind is Kind.RESYNC else unit_of(change.path))
