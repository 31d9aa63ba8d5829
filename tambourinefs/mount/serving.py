"""How a server gets its mount, and how it knows that others can read it.

Under systemd `tambourine mount NAME` (ExecStartPre=+) has made it and systemd hands its descriptor
over; with --foreground the server makes and removes it.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import trio

from tambourinefs import daemon
from tambourinefs.errors import HostError, Unmounted
from tambourinefs.mount import mounts, units

_ANSWER_SECONDS: Final = 10.0


@dataclass(frozen=True)
class Served:
    """A mount to serve: its descriptor, its place, and whether systemd keeps both."""

    fd: int
    mountpoint: Path
    inherited: bool


@contextmanager
def mount_to_serve(name: str, mountpoint: str | Path, *, foreground: bool) -> Iterator[Served]:
    """The mount called `name` ("silo", "proc"): the one that systemd holds, else a new one for as
    long as the block runs. `foreground` always makes a new one.

    Raises HostError as mounts.mount_fd does.
    """
    place = Path(mountpoint)
    fds = {} if foreground else daemon.listen_fds()
    if name in fds:
        yield Served(fds[name], place, inherited=True)
        return
    mounts.make_mountpoint(place)
    with mounts.mounted(f"tambourine-{name}", place, units.OPTIONS[name]) as fd:
        yield Served(fd, place, inherited=False)


async def answer(
    served: Served,
    server: Callable[..., Awaitable[Any]],
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """A task: run the task `server`, which answers the mount's requests, until cancelled.

    Raises Unmounted when the mount was unmounted. Files that are still open there end with ENOTCONN
    then. A connection that was cut (fusectl's `abort`, umount -f of a busy mount) looks the same to
    the server but leaves the mount where it was; then the error of `server` is raised.
    """
    with mounts.MountWatch() as watch:
        mount = mounts.find(served.mountpoint)
        try:
            async with trio.open_nursery() as nursery:
                await nursery.start(server)
                task_status.started()
                while mount is None or mounts.attached(mount):
                    await watch.wait()
                nursery.cancel_scope.cancel()
        except* HostError:
            if mount is None or mounts.attached(mount):
                raise
    raise Unmounted(f"{served.mountpoint} was unmounted")


async def wait_readable(served: Served, name: str) -> bytes:
    """Read a small file of the mount as others do, and return it (4 KiB at most); the server is
    ready then.

    A child process reads it: a server that asked its own mount would wait for itself. It reads
    below PID 1's root where systemd made the mount and that is allowed; in a sandbox it is not, and
    the unit's own view, a copy of PID 1's, is read.

    Raises HostError when it does not answer within 10 s.
    """
    place = served.mountpoint / name
    if served.inherited and _may_see_root_of_pid_1():
        place = Path("/proc/1/root", *place.parts[1:])
    with trio.move_on_after(_ANSWER_SECONDS):
        done = await trio.run_process(
            ["head", "--bytes=4096", "--", str(place)],
            capture_stdout=True,
            capture_stderr=True,
            check=False,
        )
        if done.returncode == 0:
            return bytes(done.stdout)
        raise HostError(
            f"the mount does not answer: {done.stderr.decode('utf-8', 'replace').strip()}"
        )
    raise HostError(f"the mount does not answer within {_ANSWER_SECONDS:.0f} s: {place}")


def _may_see_root_of_pid_1() -> bool:
    try:
        os.stat("/proc/1/root/")
    except OSError:
        return False
    return True
