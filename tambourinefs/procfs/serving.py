"""The status mount as one task: a status store on a /dev/fuse descriptor."""

from __future__ import annotations

import grp
from pathlib import Path
from typing import Final

import trio

from tambourinefs import fuse
from tambourinefs.procfs.host.cgroups import Cgroups
from tambourinefs.procfs.host.reader import HostReader, LocalZone
from tambourinefs.procfs.operations import StatusOperations
from tambourinefs.procfs.render.files import FILES
from tambourinefs.procfs.store import StatusStore

_BELLS: Final = 1 << 18


def make_status_store() -> StatusStore:
    """A status store that reads this host's clock, zone and control groups."""
    return StatusStore(HostReader(Cgroups(), LocalZone(Path("/etc/localtime"))))


async def serve_status_store(
    store: StatusStore, fd: int, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """A task: answer the mount behind `fd` from the status store.

    Raises HostError when it is unmounted or its connection is cut.
    """
    with fuse.Invalidator(store.readers.resync, capacity=_BELLS) as bells:
        operations = StatusOperations(store, bells, group_ids())
        await fuse.serve(operations, fd, task_status=task_status)


def group_ids() -> dict[str, int]:
    """The gid of each group that a file of ours belongs to; 0 for one that this host does not have."""
    found = {}
    for name in {spec.group for spec in FILES}:
        try:
            found[name] = grp.getgrnam(name).gr_gid
        except KeyError:
            found[name] = 0
    return found
