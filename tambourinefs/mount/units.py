"""`tambourine mount` and `tambourine unmount`: what systemd runs around a server that may not mount
(ExecStartPre=+).

A unit with any sandboxing of its file system has a mount namespace of its own, also for
ExecStartPre=+, and a mount made there is invisible elsewhere. So these commands enter PID 1's
namespace first, mount there, and leave the descriptor with systemd (FileDescriptorStoreMax=,
NotifyAccess=exec), which hands it to the server.
"""

from __future__ import annotations

import ctypes
import logging
import os
import select
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tambourinefs import daemon
from tambourinefs.errors import HostError, InvalidInput
from tambourinefs.model.config import Config
from tambourinefs.mount import mounts

_log = logging.getLogger(__name__)

NAMES: Final = ("silo", "proc")
# "ro": the kernel itself answers EROFS to a writer of a status.
OPTIONS: Final[dict[str, tuple[str, ...]]] = {"silo": (), "proc": ("ro",)}
SILO_READAHEAD_KIB: Final = (
    2048  # two of the largest requests: one is copied while the next is read
)
_CLONE_NEWNS: Final = 0x00020000
_BARRIER_SECONDS: Final = 10.0
_CHECK_SECONDS: Final = 20.0
_HOST: Final = "/proc/1/ns/mnt"
_UTAB: Final = Path("/run/mount/utab")
_MOUNT_SECONDS: Final = 10.0


def mountpoint(name: str, config: Config) -> Path:
    """Where the mount called `name` goes.

    Raises InvalidInput for an unknown name.
    """
    places = {"silo": config.silo.mountpoint, "proc": config.proc.mountpoint}
    if name not in places:
        raise InvalidInput(
            f'"{name}" is not a mount', hint=f"The mounts are {' and '.join(NAMES)}."
        )
    return Path(places[name])


def mount(name: str, config: Config) -> None:
    """Mount in PID 1's namespace and leave the descriptor, called `name`, in systemd's store.

    A Tambourine mount that is there already has no server any more and is detached first.

    Raises HostError: not run by systemd, PID 1's namespace cannot be entered, the kernel refuses.
    """
    place = mountpoint(name, config)
    # Without this an automatic restart would hand the server two descriptors of one name.
    if not daemon.notify(f"FDSTOREREMOVE=1\nFDNAME={name}"):
        raise HostError(
            "the mount's descriptor cannot be stored: $NOTIFY_SOCKET is not set",
            hint="systemd runs this (ExecStartPre=+, NotifyAccess=exec). Run with --foreground, a server mounts by itself.",
        )
    enter_host_namespace()
    mounts.make_mountpoint(place)
    while mounts.detach(place):
        _log.info("detached the mount that an earlier server left at %s", place)
    _register_with_umount(name, place)
    fd = mounts.mount_fd(f"tambourine-{name}", place, OPTIONS[name])
    try:
        if name == "silo":
            mounts.set_readahead(
                place, SILO_READAHEAD_KIB
            )  # the server's sandbox may not write /sys
        daemon.notify(f"FDSTORE=1\nFDNAME={name}", [fd])
        wait_for_barrier()
    except BaseException:
        mounts.detach(place)
        raise
    finally:
        os.close(fd)


def _register_with_umount(name: str, place: Path) -> None:
    """Add the mount to libmount's table, so that `umount DIR` runs umount.fuse.tambourine, which
    has a hint for a busy one.

    umount(8) asks a directory for its type, which is "fuse" for any FUSE; it reads mountinfo only
    for mounts in that table. mount(8) adds an entry for options that begin with "x-", and with
    --fake does nothing else. Before mount(2), because the mount has no server yet. An entry of an
    earlier mount will do: umount(8) removes entries, MNT_DETACH does not.
    """
    escaped = str(place).translate({ord(c): f"\\{ord(c):03o}" for c in " \t\n\\"})
    argv = ("mount", "--fake", "--internal-only", "--no-canonicalize")
    kind = ("-t", f"fuse.{mounts.SUBTYPE}", "-o", "x-tambourine")
    try:
        if _UTAB.exists() and f"TARGET={escaped}" in _UTAB.read_text(errors="replace").split():
            return
        subprocess.run(
            [*argv, *kind, f"tambourine-{name}", str(place)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_MOUNT_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        # Only a hint depends on it.
        _log.info("umount(8) will not find its helper for %s: %s", place, error)


def unmount(name: str, config: Config) -> None:
    """Detach every Tambourine mount at the place, in PID 1's namespace, and let systemd drop its
    descriptor.
    """
    place = mountpoint(name, config)
    daemon.notify(f"FDSTOREREMOVE=1\nFDNAME={name}")
    if "NOTIFY_SOCKET" in os.environ:
        enter_host_namespace()
    while mounts.detach(place):
        pass


def check(name: str, config: Config) -> None:
    """Read the mount's root from PID 1's namespace: it returns once its server has answered there.

    A server that dies meanwhile never answers: systemd's store keeps the connection open. So its
    process is watched, and the descriptor dropped, or the unit would be starting until
    TimeoutStartSec=.

    Raises HostError: nothing is mounted, the server has died ($MAINPID) or does not answer in 20 s.
    """
    place = mountpoint(name, config)
    enter_host_namespace()
    there = mounts.find(place)
    if there is None or not there.is_tambourine:
        raise HostError(f"{place} is not mounted by Tambourine")
    reading, writing = os.pipe2(os.O_CLOEXEC)
    problems: list[OSError] = []

    def read() -> None:
        try:
            os.listdir(place)
        except OSError as error:
            problems.append(error)
        os.close(writing)

    threading.Thread(target=read, daemon=True).start()
    poller = select.poll()
    poller.register(reading, 0)  # closed at the other end: POLLHUP
    within = _CHECK_SECONDS
    with _server() as server:
        if server is not None:
            poller.register(server, select.POLLIN)  # readable: it has ended (pidfd_open(2))
        elif "NOTIFY_SOCKET" in os.environ:
            within = 0.0  # systemd names no main process: it has ended already
        said = {fd for fd, _ in poller.poll(within * 1000)}
    if reading not in said:
        # The last copy of the descriptor: the thread that reads gets ENOTCONN, and this process can
        # end.
        daemon.notify(f"FDSTOREREMOVE=1\nFDNAME={name}")
        raise HostError(f"{place}: its server has died or does not answer")
    if problems:
        raise HostError(f"{place}: {problems[0].strerror}") from problems[0]


@contextmanager
def _server() -> Iterator[int | None]:
    """A pidfd of the unit's main process, which systemd names in ExecStartPost=; None where there
    is none.
    """
    try:
        fd = os.pidfd_open(int(os.environ.get("MAINPID", "")))
    except (ValueError, ProcessLookupError):
        yield None
        return
    try:
        yield fd
    finally:
        os.close(fd)


def enter_host_namespace() -> None:
    """Enter PID 1's mount namespace (setns(2)), where this process is not in it already.

    Raises HostError.
    """
    try:
        host = os.open(_HOST, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise HostError(
            f"{_HOST}: {error.strerror}", hint="Run it as root; in a unit, with the prefix `+`."
        ) from error
    try:
        if os.fstat(host).st_ino == os.stat("/proc/self/ns/mnt").st_ino:
            return
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.setns(host, _CLONE_NEWNS) != 0:
            raise HostError(f"setns {_HOST}: {os.strerror(ctypes.get_errno())}")
    finally:
        os.close(host)


def wait_for_barrier() -> None:
    """Wait until systemd has handled all notifications (BARRIER=1, sd_notify_barrier(3)): it cannot
    assign them to a unit once their sender has ended.

    Raises HostError after 10 s.
    """
    reading, writing = os.pipe2(os.O_CLOEXEC)
    try:
        daemon.notify("BARRIER=1", [writing])
        os.close(writing)
        writing = -1
        poller = select.poll()
        poller.register(reading, 0)  # systemd closes its end: POLLHUP
        if not poller.poll(_BARRIER_SECONDS * 1000):
            raise HostError("systemd does not answer (BARRIER=1)")
    finally:
        os.close(reading)
        if writing >= 0:
            os.close(writing)
