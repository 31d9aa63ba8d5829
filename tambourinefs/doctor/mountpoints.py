"""The two FUSE mounts: mounted, not covered, answering; and the silo's quota (`df`)."""

from __future__ import annotations

import errno
import os
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tambourinefs.doctor.check import AGENT, SILO, Finding, restart, write_config
from tambourinefs.doctor.commands import FilesystemUsage, statvfs
from tambourinefs.mount import mounts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tambourinefs.doctor.check import CheckContext

_TIGHT: Final = 0.9  # of a quota: a warning
_MEBI: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class MountState:
    """One mount. `fstype` is "" if nothing is mounted; `usage`: see statvfs()."""

    check: str
    place: str
    unit: str
    fstype: str
    ours: bool
    usage: FilesystemUsage | int | None


def probe(context: CheckContext) -> tuple[MountState, ...]:
    """Read mountinfo, which touches no mount; a child process then touches it."""
    places = (
        ("silo", context.config.silo.mountpoint, SILO),
        ("statuses", context.config.proc.mountpoint, AGENT),
    )
    return tuple(_probe(*place) for place in places)


def _probe(check: str, place: str, unit: str) -> MountState:
    there = mounts.find(place)
    if there is None:
        return MountState(check, place, unit, "", False, None)
    return MountState(check, place, unit, there.fstype, there.is_tambourine, statvfs(place))


def findings(observed: tuple[MountState, ...], context: CheckContext) -> Iterator[Finding]:
    """A finding for each mount, and one for the quota if the silo answers."""
    for one in observed:
        yield _mount(one)
        if one.check == "silo" and one.ours and isinstance(one.usage, FilesystemUsage):
            yield _quota(one.usage, context)


def _mount(one: MountState) -> Finding:
    fix = restart(one.unit)
    if not one.fstype:
        return Finding(one.check, "error", f"nothing is mounted at {one.place}", fix)
    if not one.ours:
        text = f"{one.place} is covered by another file system ({one.fstype})"
        return Finding(one.check, "error", text, f"umount {shlex.quote(one.place)} && {fix}")
    if one.usage is None:
        return Finding(one.check, "error", f"{one.place} does not answer", fix)
    if one.usage == errno.ENOTCONN:
        return Finding(one.check, "error", f"{one.place}: its server has exited", fix)
    if isinstance(one.usage, int):
        return Finding(one.check, "error", f"{one.place}: {os.strerror(one.usage)}", fix)
    return Finding(one.check, "ok", f"{one.place} is mounted and answers")


def _quota(usage: FilesystemUsage, context: CheckContext) -> Finding:
    used = 1 - usage.available / usage.size if usage.size else 0.0
    files = 1 - usage.files_available / usage.files if usage.files else 0.0
    silo = context.config.silo
    fix = write_config(
        "60-quota.toml",
        f"[silo]\\nquota_bytes = {max(2 * silo.quota_bytes, _MEBI)}\\n"
        f"quota_files = {max(2 * silo.quota_files, 16)}\\n",
        SILO,
    )
    text = f"{used:.0%} of {usage.size // _MEBI} MiB and {files:.0%} of {usage.files} files used"
    if max(used, files) > 0.995 or usage.available < 4096 * 16 or usage.files_available < 4 <= usage.files:  # fmt: skip
        return Finding("quota", "error", f"the silo is full: {text}", fix)
    if max(used, files) > _TIGHT:
        return Finding("quota", "warning", f"the silo is nearly full: {text}", fix)
    return Finding("quota", "ok", text)
