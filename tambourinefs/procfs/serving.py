"""The status mount as a task: a status store on a /dev/fuse descriptor."""

from __future__ import annotations

import grp
import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Final

import trio

from tambourinefs import fuse
from tambourinefs.procfs.host.cgroups import Cgroups
from tambourinefs.procfs.host.reader import HostReader, LocalZone
from tambourinefs.procfs.operations import StatusOperations
from tambourinefs.procfs.render.files import FILES
from tambourinefs.procfs.store import StatusStore

if TYPE_CHECKING:
    from collections.abc import Iterable

_log = logging.getLogger(__name__)

_INVALIDATIONS: Final = 1 << 18
EXPIRATIONS_EVERY: Final = 60.0  # seconds: a renewed certificate is in the metrics after that


def make_status_store() -> StatusStore:
    """A status store that reads this host's clock, zone and control groups."""
    return StatusStore(HostReader(Cgroups(), LocalZone(Path("/etc/localtime"))))


async def serve_status_store(
    store: StatusStore, fd: int, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """A task: answer the mount behind `fd` from the status store.

    Raises HostError when it is unmounted or its connection is cut.
    """
    with fuse.Invalidator(store.readers.resync, capacity=_INVALIDATIONS) as invalidator:
        operations = StatusOperations(store, invalidator, group_ids())
        await fuse.serve(operations, fd, task_status=task_status)


def group_ids() -> dict[str, int]:
    """The gid of each group that owns a status file; 0 for one that this host does not have."""
    found = {}
    for name in {spec.group for spec in FILES}:
        try:
            found[name] = grp.getgrnam(name).gr_gid
        except KeyError:
            found[name] = 0
    return found


async def publish_expirations(
    store: StatusStore, paths: Iterable[Path], every: float = EXPIRATIONS_EVERY
) -> None:
    """A task: publish when this host's certificates expire, again and again.

    `paths`: files of `pki` and `sync` (paths.EXPIRATIONS). A thread reads them: a slow disk blocks
    no reader of the mount.
    """
    while True:
        store.publish_expirations(
            await trio.to_thread.run_sync(read_expirations, paths, abandon_on_cancel=True)
        )
        await trio.sleep(every)


def read_expirations(paths: Iterable[Path]) -> dict[str, float]:
    """When each certificate expires, in seconds since 1970; without files that are missing or
    malformed.
    """
    found: dict[str, float] = {}
    for path in paths:
        try:
            ends = json.loads(path.read_bytes())
            found |= {str(name): float(end) for name, end in ends.items()}
        except (OSError, ValueError, TypeError, AttributeError) as error:
            _log.debug("%s: %s", path, error)
    return found
