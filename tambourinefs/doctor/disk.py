"""The disks below the store, the applied state and /etc: space, inodes, and whether they may be written."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tambourinefs import mounts
from tambourinefs.doctor.ask import Space, space
from tambourinefs.doctor.finding import Finding
from tambourinefs.doctor.patient import quoted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tambourinefs.doctor.patient import Patient

JOURNAL: Final = Path("/var/log/journal")
KEPT: Final = 64 << 20  # bytes of the journal that are left
_MEBI: Final = 1 << 20
FULL: Final = 32 * _MEBI
TIGHT: Final = 2048 * _MEBI
_FEW_FILES: Final = 256
_SHARE: Final = 0.05


@dataclass(frozen=True, slots=True)
class Facts:
    """One directory. `mount` is where its file system is mounted, `journal` how many bytes of old logs lie on it."""

    place: str
    mount: str
    said: Space | int | None
    journal: int = 0


def probe(patient: Patient) -> tuple[Facts, ...]:
    """One for each of the places, of one mount the first alone."""
    config = patient.config
    found: dict[str, Facts] = {}
    for place in (config.silo.store, config.agent.state_directory, "/etc/tambourine"):
        mount = mount_of(place, Path("/proc/self/mountinfo").read_bytes())
        if mount not in found:
            said = space(mount)
            found[mount] = Facts(place, mount, said, _journal(mount))
    return tuple(found.values())


def mount_of(place: str, mountinfo: bytes) -> str:
    """The mount point above a path, by mountinfo alone. Pure."""
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


def verdict(facts: tuple[Facts, ...]) -> Iterator[Finding]:
    """A finding for each that is short, or one for all."""
    bad = [finding for one in facts if (finding := _of(one)) is not None]
    if bad:
        yield from bad
        return
    free = ", ".join(
        f"{one.mount} {one.said.available / (one.said.size or 1):.0%}"
        for one in facts
        if isinstance(one.said, Space)
    )
    yield Finding("disk", "ok", f"free: {free}")


def _of(one: Facts) -> Finding | None:
    said = one.said
    if said is None:
        look = f"findmnt --target {quoted(one.place)}"
        return Finding("disk", "error", f"{one.mount}, which holds {one.place}, does not answer", look)  # fmt: skip
    if isinstance(said, int):
        text = f"{one.mount}: {os.strerror(said)}"
        return Finding("disk", "error", text, f"findmnt --target {quoted(one.place)}")
    if said.read_only:
        text = f"{one.mount}, which holds {one.place}, is read-only"
        return Finding("disk", "error", text, f"mount -o remount,rw {quoted(one.mount)}")
    left = f"{said.available // _MEBI} MiB"
    if said.available < FULL:
        text = f"{one.mount}, which holds {one.place}, is full: {left} left"
        return Finding("disk", "error", text, _space(one))
    if said.files and said.files_available < _FEW_FILES:
        text = f"{one.mount} has no inodes left: {said.files_available} of {said.files}"
        return Finding("disk", "error", text, _many(one))
    if said.available < TIGHT and said.available < _SHARE * said.size:
        text = f"{one.mount} is nearly full: {left} left"
        return Finding("disk", "warning", text, _space(one))
    if said.files and said.files_available < _SHARE * said.files:
        text = f"{one.mount} has few inodes left: {said.files_available} of {said.files}"
        return Finding("disk", "warning", text, _many(one))
    return None


def _space(one: Facts) -> str:
    """Old logs go without a question; of all else, show what is large."""
    if one.journal > KEPT:
        return f"journalctl --vacuum-size={KEPT // _MEBI}M"
    return f"du -xh --max-depth=4 {quoted(one.mount)} | sort -h | tail -n 20"


def _many(one: Facts) -> str:
    return f"du -x --inodes --max-depth=4 {quoted(one.mount)} | sort -n | tail -n 20"
