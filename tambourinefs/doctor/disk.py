"""The file systems of the store, the applied state and /etc: space, inodes, read-only."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tambourinefs.doctor.check import Finding
from tambourinefs.doctor.commands import FilesystemUsage, statvfs
from tambourinefs.mount import mounts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tambourinefs.doctor.check import CheckContext

JOURNAL: Final = Path("/var/log/journal")
KEPT: Final = 64 << 20  # bytes of the journal that vacuuming keeps
_MEBI: Final = 1 << 20
FULL: Final = 32 * _MEBI
TIGHT: Final = 2048 * _MEBI
_FEW_FILES: Final = 256
_SHARE: Final = 0.05


@dataclass(frozen=True, slots=True)
class DiskState:
    """One directory. `mount`: its mount point; `journal`: bytes of archived journals on that mount."""

    place: str
    mount: str
    usage: FilesystemUsage | int | None
    journal: int = 0


def probe(context: CheckContext) -> tuple[DiskState, ...]:
    """One for each file system: the first directory that is on it."""
    config = context.config
    found: dict[str, DiskState] = {}
    for place in (config.silo.store, config.agent.state_directory, "/etc/tambourine"):
        mount = mount_of(place, Path("/proc/self/mountinfo").read_bytes())
        if mount not in found:
            usage = statvfs(mount)
            found[mount] = DiskState(place, mount, usage, _journal(mount))
    return tuple(found.values())


def mount_of(place: str, mountinfo: bytes) -> str:
    """The mount point of `place`, from mountinfo alone. Pure."""
    at = os.fsencode(place)
    above = [
        m.mountpoint
        for m in mounts.parse(mountinfo)
        if m.mountpoint == b"/" or at == m.mountpoint or at.startswith(m.mountpoint + b"/")
    ]
    return os.fsdecode(max(above, key=len, default=b"/"))


def _journal(mount: str) -> int:
    """Bytes of archived journals on that mount."""
    if mount_of(str(JOURNAL), Path("/proc/self/mountinfo").read_bytes()) != mount:
        return 0
    total = 0
    for file in JOURNAL.glob("*/*@*.journal"):
        try:
            total += file.stat().st_blocks * 512
        except OSError:
            continue
    return total


def findings(observed: tuple[DiskState, ...]) -> Iterator[Finding]:
    """A finding for each file system with a problem, or one for all."""
    bad = [finding for one in observed if (finding := _of(one)) is not None]
    if bad:
        yield from bad
        return
    free = ", ".join(
        f"{one.mount} {one.usage.available / (one.usage.size or 1):.0%}"
        for one in observed
        if isinstance(one.usage, FilesystemUsage)
    )
    yield Finding("disk", "ok", f"free: {free}")


def _of(one: DiskState) -> Finding | None:
    usage = one.usage
    if usage is None:
        look = f"findmnt --target {shlex.quote(one.place)}"
        return Finding("disk", "error", f"{one.mount}, which holds {one.place}, does not answer", look)  # fmt: skip
    if isinstance(usage, int):
        text = f"{one.mount}: {os.strerror(usage)}"
        return Finding("disk", "error", text, f"findmnt --target {shlex.quote(one.place)}")
    if usage.read_only:
        text = f"{one.mount}, which holds {one.place}, is read-only"
        return Finding("disk", "error", text, f"mount -o remount,rw {shlex.quote(one.mount)}")
    left = f"{usage.available // _MEBI} MiB"
    if usage.available < FULL:
        text = f"{one.mount}, which holds {one.place}, is full: {left} left"
        return Finding("disk", "error", text, _space(one))
    if usage.files and usage.files_available < _FEW_FILES:
        text = f"{one.mount} has no inodes left: {usage.files_available} of {usage.files}"
        return Finding("disk", "error", text, _many(one))
    if usage.available < TIGHT and usage.available < _SHARE * usage.size:
        text = f"{one.mount} is nearly full: {left} left"
        return Finding("disk", "warning", text, _space(one))
    if usage.files and usage.files_available < _SHARE * usage.files:
        text = f"{one.mount} has few inodes left: {usage.files_available} of {usage.files}"
        return Finding("disk", "warning", text, _many(one))
    return None


def _space(one: DiskState) -> str:
    """Archived journals can be removed; of anything else, show what is large."""
    if one.journal > KEPT:
        return f"journalctl --vacuum-size={KEPT // _MEBI}M"
    return f"du -xh --max-depth=4 {shlex.quote(one.mount)} | sort -h | tail -n 20"


def _many(one: DiskState) -> str:
    return f"du -x --inodes --max-depth=4 {shlex.quote(one.mount)} | sort -n | tail -n 20"
