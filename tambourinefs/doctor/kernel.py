"""What Tambourine needs of the kernel: FUSE, control groups, inotify. The own module: module.py."""

from __future__ import annotations

import os
import stat
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tambourinefs.doctor.check import Finding
from tambourinefs.mount import mounts

if TYPE_CHECKING:
    from collections.abc import Iterator

WATCHES: Final = "max_user_watches"
INSTANCES: Final = "max_user_instances"
# The lowest kernel defaults; a host with less was restricted by its administrator.
LEAST: Final = {WATCHES: 8192, INSTANCES: 128}
BETTER: Final = {WATCHES: 524_288, INSTANCES: 1024}
_SYSCTL: Final = "/etc/sysctl.d/60-tambourine-inotify.conf"
_TIGHT: Final = 0.9
_COUNT_SECONDS: Final = 2.0  # for counting root's watches where there are very many processes


@dataclass(frozen=True, slots=True)
class KernelState:
    """`used`: root's watches and instances, empty if they were not counted."""

    fuse: bool  # in /proc/filesystems
    device: bool  # /dev/fuse is the device
    cgroup: str  # the file system at /sys/fs/cgroup
    limits: dict[str, int]
    used: dict[str, int]


def probe(*, root: bool) -> KernelState:
    """`root`: count what root uses of inotify."""
    cgroup = mounts.find("/sys/fs/cgroup")
    return KernelState(
        fuse="fuse" in Path("/proc/filesystems").read_text().split(),
        device=_is_fuse_device(Path("/dev/fuse")),
        cgroup=cgroup.fstype if cgroup else "",
        limits=_limits(),
        used=_used() if root else {},
    )


def _is_fuse_device(path: Path) -> bool:
    try:
        found = path.stat()
    except OSError:
        return False
    return stat.S_ISCHR(found.st_mode) and found.st_rdev == os.makedev(
        10, 229
    )  # Documentation/admin-guide/devices.txt


def _limits() -> dict[str, int]:
    found = {}
    for name in LEAST:
        with suppress(OSError, ValueError):
            found[name] = int(Path("/proc/sys/fs/inotify", name).read_text())
    return found


def _used() -> dict[str, int]:
    """What root uses, from /proc/PID/fdinfo (proc(5)); the kernel counts by user."""
    used, began = {WATCHES: 0, INSTANCES: 0}, time.monotonic()
    for process in Path("/proc").glob("[0-9]*"):
        if time.monotonic() - began > _COUNT_SECONDS:
            return {}
        with suppress(OSError):
            if process.stat().st_uid != 0:
                continue
            for info in (process / "fdinfo").iterdir():
                with suppress(OSError):
                    watches = info.read_bytes().count(b"inotify wd:")
                    used[WATCHES] += watches
                    used[INSTANCES] += bool(watches)
    return used


def findings(observed: KernelState) -> Iterator[Finding]:
    """Three findings."""
    yield _fuse(observed)
    yield _cgroup(observed)
    yield _inotify(observed)


def _fuse(observed: KernelState) -> Finding:
    if not observed.fuse:
        return Finding("fuse", "error", "the kernel has no FUSE", "modprobe fuse")
    if not observed.device:
        fix = "rm -f /dev/fuse && mknod -m 0666 /dev/fuse c 10 229"
        return Finding("fuse", "error", "/dev/fuse is missing or is not the FUSE device", fix)
    return Finding("fuse", "ok", "the kernel has FUSE, /dev/fuse exists")


def _cgroup(observed: KernelState) -> Finding:
    if observed.cgroup == "cgroup2":
        return Finding("cgroup", "ok", "version 2")
    # Debian's boot loader; it takes a reboot.
    fix = (
        "sed -i 's/^GRUB_CMDLINE_LINUX=\"/&systemd.unified_cgroup_hierarchy=1 /' /etc/default/grub"
        " && update-grub && systemctl reboot"
    )
    text = "version 1: statuses may lack tasks and memory"
    return Finding("cgroup", "warning", text, fix)


def _inotify(observed: KernelState) -> Finding:
    for name, limit in observed.limits.items():
        used = observed.used.get(name, 0)
        full = used > _TIGHT * limit
        if not full and limit >= LEAST[name]:
            continue
        line = f"fs.inotify.{name} = {max(BETTER[name], 2 * limit)}"
        fix = f"echo '{line}' >>{_SYSCTL} && sysctl --load {_SYSCTL}"
        if full:
            text = f"root uses {used} of {limit} (fs.inotify.{name}): changes may be missed"
            return Finding("inotify", "error", text, fix)
        return Finding(
            "inotify",
            "warning",
            f"fs.inotify.{name} is {limit}, less than the default of {LEAST[name]}",
            fix,
        )
    if not observed.limits:
        return Finding("inotify", "unknown", "/proc/sys/fs/inotify cannot be read")
    text = f"{observed.limits.get(WATCHES, 0)} watches a user"
    if WATCHES in observed.used:
        text += f", root uses {observed.used[WATCHES]}"
    return Finding("inotify", "ok", text)
