"""Mounts: a FUSE file system attached by mount(2) on a /dev/fuse descriptor of our own, found in
mountinfo, detached.

Not libfuse's own mounting: with the descriptor in hand it can go to systemd's store, and the mount
outlives the process that made it. Imports only what Python has: the installer runs from a bare
checkout.
"""

from __future__ import annotations

import ctypes
import errno
import logging
import os
import re
import select
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple, Self

from tambourinefs.errors import HostError

_log = logging.getLogger(__name__)

SUBTYPE: Final = "tambourine"  # /proc/self/mountinfo says "fuse.tambourine", as does `findmnt -t`
# mount(2), umount(2)
MS_NOSUID: Final = 2
MS_NODEV: Final = 4
MS_NOEXEC: Final = 8
MS_BIND: Final = 4096
MS_PRIVATE: Final = 1 << 18
MNT_DETACH: Final = 2
_DATA: Final = "fd={fd},rootmode=40000,user_id=0,group_id=0,default_permissions,allow_other"
_PROBE_SECONDS: Final = 2.0

_libc: Final = ctypes.CDLL(None, use_errno=True)


class Mount(NamedTuple):
    """One line of mountinfo (proc(5))."""

    mount_id: int
    device: str  # "major:minor"
    mountpoint: bytes
    fstype: str
    source: bytes

    @property
    def is_tambourine(self) -> bool:
        return self.fstype == f"fuse.{SUBTYPE}"


def _unescape(field: bytes) -> bytes:
    """proc(5): space, tab, newline and backslash are written as octal."""
    return re.sub(rb"\\([0-7]{3})", lambda m: bytes([int(m[1], 8)]), field)


def parse(mountinfo: bytes) -> list[Mount]:
    """The mounts in the text of /proc/PID/mountinfo, in its order: of two at one place the later is
    on top.
    """
    found = []
    for line in mountinfo.splitlines():
        left, _, right = line.partition(b" - ")
        before, after = left.split(b" "), right.split(b" ")
        found.append(
            Mount(
                mount_id=int(before[0]),
                device=before[2].decode("ascii"),
                mountpoint=_unescape(before[4]),
                fstype=after[0].decode("ascii", "backslashreplace"),
                source=_unescape(after[1]),
            )
        )
    return found


def find(mountpoint: str | Path, *, process: str = "self") -> Mount | None:
    """The topmost mount at `mountpoint`, in the mount namespace of this or another process; its
    server is not asked.
    """
    place = os.fsencode(resolved(mountpoint))
    table = parse(Path("/proc", process, "mountinfo").read_bytes())
    at = [m for m in table if m.mountpoint == place]
    return at[-1] if at else None


def attached(mount: Mount) -> bool:
    """Whether this mount is still in this process's mount namespace, also where another covers it
    or a directory above it has been renamed; its server is not asked.
    """
    line = rb"^%d \d+ %s " % (mount.mount_id, mount.device.encode("ascii"))
    return re.search(line, Path("/proc/self/mountinfo").read_bytes(), re.MULTILINE) is not None


class MountWatch:
    """Tells that this mount namespace has changed (proc(5), /proc/pid/mountinfo). Made before the
    first read: a change after that is never missed.
    """

    def __init__(self) -> None:
        self._file = os.open("/proc/self/mountinfo", os.O_RDONLY | os.O_CLOEXEC)
        # mountinfo is always readable. Edge-triggered in an epoll of its own, each change makes
        # that epoll readable until it is polled. POLLPRI would not do: mounts_poll() of the
        # kernel's fs/namespace.c reports it to whoever asks first, and epoll_ctl(2), which trio
        # calls to wait here, already asks: a change that came before it would be lost.
        self._epoll = select.epoll()
        self._epoll.register(self._file, select.EPOLLIN | select.EPOLLET)
        self._epoll.poll(0)  # the first edge is the registration itself

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._epoll.close()
        os.close(self._file)

    async def wait(self) -> None:
        """Return when there was a change since the last return."""
        import trio

        await trio.lowlevel.wait_readable(self._epoll.fileno())
        self._epoll.poll(0)


def resolved(mountpoint: str | Path) -> Path:
    """The mountpoint as mountinfo names it. Only the parent is resolved: stat of a dead or own
    mount fails or hangs.
    """
    path = Path(os.path.abspath(mountpoint))
    return path.parent.resolve() / path.name


def _answers(mountpoint: Path) -> bool:
    """False where the connection is gone (ENOTCONN). A server that hangs counts as one that
    answers.

    A child process asks, because a request that was read and is never answered cannot be killed.
    """
    with tempfile.TemporaryFile() as said:
        asker = subprocess.Popen(
            ["stat", "--file-system", "--format=%T", str(mountpoint)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=said,
            env={"LC_ALL": "C", "PATH": os.environ.get("PATH", os.defpath)},
        )
        try:
            asker.wait(_PROBE_SECONDS)
        except subprocess.TimeoutExpired:
            asker.kill()
            with suppress(subprocess.TimeoutExpired):  # cannot be killed: init reaps it
                asker.wait(_PROBE_SECONDS)
            return True
        said.seek(0)
        return os.strerror(errno.ENOTCONN).encode() not in said.read()


def mount_fd(fsname: str, mountpoint: str | Path, options: Sequence[str] = ()) -> int:
    """Mount a FUSE file system on an existing directory and return its /dev/fuse descriptor
    (close-on-exec).

    nosuid, nodev, noexec, allow_other, default_permissions; `options` are more of the kernel's FUSE
    options. The holder of the descriptor serves the mount (`fuse.serve`); when the last copy is
    closed, requests end with ENOTCONN. A dead Tambourine mount at the place is detached first.

    Raises HostError: a living Tambourine mount is there, the place is no directory, or the kernel
    refuses.
    """
    place = resolved(mountpoint)
    there = find(place)
    while there is not None and there.is_tambourine:
        if _answers(place):
            raise HostError(
                f"{place} is already mounted by Tambourine ({there.source.decode('ascii', 'replace')})",
                hint=f"Stop the process that serves it, or detach it: umount --lazy {place}",
            )
        _log.warning("detaching the dead mount at %s", place)
        detach(place)
        there = find(place)
    try:
        fd = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise HostError(
            f"/dev/fuse: {error.strerror}", hint="Load the fuse module: modprobe fuse"
        ) from error
    try:
        data = ",".join([_DATA.format(fd=fd), *options])
        _mount(fsname, place, f"fuse.{SUBTYPE}", MS_NOSUID | MS_NODEV | MS_NOEXEC, data)
    except OSError as error:
        os.close(fd)
        raise HostError(f"mount {fsname} on {place}: {error.strerror}") from error
    return fd


def _mount(source: str, place: Path, fstype: str, flags: int, data: str) -> None:
    result = _libc.mount(
        os.fsencode(source),
        os.fsencode(place),
        fstype.encode("ascii"),
        ctypes.c_ulong(flags),
        data.encode("ascii"),
    )
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(place))


def make_mountpoint(place: Path) -> None:
    """Make the directory to mount on where it is missing.

    Raises HostError.
    """
    if find(place) is not None:
        return  # the mount, dead or alive, is on a directory; a dead one must not be asked
    try:
        place.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise HostError(f"{place} is not a directory") from None
    except OSError as error:
        raise HostError(f"{place}: {error.strerror}") from error


def bind(source: str | Path, mountpoint: str | Path) -> None:
    """Show the mount at `source` at another directory, too (MS_BIND: its flags go with it).

    It is private: of two that share their events (mount_namespaces(7)), what is mounted over one
    covers the other, too.

    Raises HostError.
    """
    place = resolved(mountpoint)
    try:
        _mount(os.fspath(source), place, "none", MS_BIND, "")
        _mount("none", place, "none", MS_PRIVATE, "")
    except OSError as error:
        raise HostError(f"bind {source} at {place}: {error.strerror}") from error


def detach(mountpoint: str | Path) -> bool:
    """Detach the Tambourine mount that is on top at `mountpoint` (MNT_DETACH); files that are open
    on it stay open.

    Returns whether there was one; any other mount stays. The server is not asked: it may be dead,
    or this process.
    """
    place = resolved(mountpoint)
    there = find(place)
    if there is None or not there.is_tambourine:
        return False
    if _libc.umount2(os.fsencode(place), MNT_DETACH) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(place))
    return True


@contextmanager
def mounted(fsname: str, mountpoint: str | Path, options: Sequence[str] = ()) -> Iterator[int]:
    """A mount for as long as the block runs; yields its /dev/fuse descriptor. Detached before the
    last copy is closed.
    """
    fd = mount_fd(fsname, mountpoint, options)
    try:
        yield fd
    finally:
        detach(mountpoint)
        os.close(fd)


def set_readahead(mountpoint: str | Path, kibibytes: int) -> None:
    """Let the kernel read ahead so far on the Tambourine mount at this place (its default is 128
    KiB).

    Only speed depends on it: a sandbox that may not write /sys goes without.
    """
    there = find(mountpoint)
    if there is None or not there.is_tambourine:
        return
    try:
        Path(f"/sys/class/bdi/{there.device}/read_ahead_kb").write_text(f"{kibibytes}\n")
    except OSError as error:
        _log.debug("read-ahead of %s stays unchanged: %s", mountpoint, error)
