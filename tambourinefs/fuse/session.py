"""One FUSE session on one descriptor, as a trio task."""

from __future__ import annotations

import os
from typing import Final

import pyfuse3
import trio

from tambourinefs.errors import HostError

_GRACE_SECONDS: Final = 5.0


async def serve(
    operations: pyfuse3.Operations,
    fd: int,
    *,
    max_tasks: int = 64,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """A task: answer the requests from the /dev/fuse descriptor `fd` (which stays the caller's),
    until cancelled.

    Started once requests are accepted. When cancelled, requests in progress are answered first (5 s
    at most). The caller detaches the mount. At most `max_tasks` requests are worked on at once (a
    buffer of 1 MiB each).

    Raises HostError when the mount is unmounted or its connection is cut.
    """
    # A copy, because closing the session closes its descriptor: the caller detaches first and
    # closes the last copy after.
    pyfuse3.init(operations, f"/dev/fd/{os.dup(fd)}", set())
    ended = trio.Event()
    scope = trio.CancelScope(shield=True)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_answer, scope, ended, max_tasks)
            task_status.started()
            try:
                await ended.wait()
            except trio.Cancelled:
                pyfuse3.terminate()
                scope.deadline = trio.current_time() + _GRACE_SECONDS
                raise
    finally:
        pyfuse3.close(unmount=False)
    raise HostError("the connection of the mount was cut")


async def _answer(scope: trio.CancelScope, ended: trio.Event, max_tasks: int) -> None:
    with scope:
        await pyfuse3.main(min_tasks=2, max_tasks=max_tasks)
    ended.set()
