"""What the kernel has to offer: FUSE, control groups, inotify. (Our module: module.py.)"""

from __future__ import annotations

import os
import stat
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tambourinefs import mounts
from tambourinefs.doctor.finding import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

WATCHES: Final = "max_user_watches"
INSTANCES: Final = "max_user_instances"
# What kernels give by themselves at least; a host with less was narrowed by hand.
LEAST: Final = {WATCHES: 8192, INSTANCES: 128}
BETTER: Final = {WATCHES: 524_288, INSTANCES: 1024}
_SYSCTL: Final = "/etc/sysctl.d/60-tambourine-inotify.conf"
_TIGHT: Final = 0.9
_COUNT_SECONDS: Final = 2.0  # for counting root's watches on a host with very many processes


@dataclass(frozen=True, slots=True)
class Facts:
    """`used` are root's watches and instances, empty where they were not counted."""

    fuse: bool  # the kernel knows the file system
    device: bool  # /dev/fuse is the device
    cgroup: str  # the file system at /sys/fs/cgroup
    limits: dict[str, int]
    used: dict[str, int]


def probe(*, root: bool) -> Facts:
    """`root`: what root holds of inotify is counted."""
    cgroup = mounts.find("/sys/fs/cgroup")
    return Facts(
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
    """What root holds, by /proc/PID/fdinfo (proc(5)); the kernel counts by user."""
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


def verdict(facts: Facts) -> Iterator[Finding]:
    """Three findings."""
    yield _fuse(facts)
    yield _cgroup(facts)
    yield _inotify(facts)


def _fuse(facts: Facts) -> Finding:
    if not facts.fuse:
        return Finding("fuse", "error", "the kernel has no FUSE", "modprobe fuse")
    if not facts.device:
        mend = "rm -f /dev/fuse && mknod -m 0666 /dev/fuse c 10 229"
        return Finding("fuse", "error", "/dev/fuse is not there or is not the device", mend)
    return Finding("fuse", "ok", "the kernel has FUSE, /dev/fuse is there")


def _cgroup(facts: Facts) -> Finding:
    if facts.cgroup == "cgroup2":
        return Finding("cgroup", "ok", "version 2")
    # Debian's boot loader; what takes effect is a boot.
    mend = (
        "sed -i 's/^GRUB_CMDLINE_LINUX=\"/&systemd.unified_cgroup_hierarchy=1 /' /etc/default/grub"
        " && update-grub && systemctl reboot"
    )
    text = "version 1: tasks and memory may be missing in statuses"
    return Finding("cgroup", "warning", text, mend)


def _inotify(facts: Facts) -> Finding:
    for name, limit in facts.limits.items():
        used = facts.used.get(name, 0)
        full = used > _TIGHT * limit
        if not full and limit >= LEAST[name]:
            continue
        line = f"fs.inotify.{name} = {max(BETTER[name], 2 * limit)}"
        mend = f"echo '{line}' >>{_SYSCTL} && sysctl --load {_SYSCTL}"
        if full:
            text = f"root uses {used} of {limit} (fs.inotify.{name}): changes may go unseen"
            return Finding("inotify", "error", text, mend)
        return Finding("inotify", "warning", f"fs.inotify.{name} is {limit}, which is little", mend)
    if not facts.limits:
        return Finding("inotify", "unknown", "/proc/sys/fs/inotify cannot be read")
    text = f"{facts.limits.get(WATCHES, 0)} watches a user"
    if WATCHES in facts.used:
        text += f", root uses {facts.used[WATCHES]}"
    return Finding("inotify", "ok", text)
