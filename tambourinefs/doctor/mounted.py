"""The two mounts: there, ours, alive. And the silo's quota, which the mount itself tells (`df`)."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tambourinefs import mounts
from tambourinefs.doctor.ask import Space, space
from tambourinefs.doctor.finding import Finding
from tambourinefs.doctor.patient import AGENT, SILO, overlay, quoted, restart

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tambourinefs.doctor.patient import Patient

_TIGHT: Final = 0.9  # used, from which on a quota is worth a word
_MEBI: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Facts:
    """One mount. `fstype` is "" where nothing is mounted; `said` is what its server answered, None: nothing in time."""

    check: str
    place: str
    unit: str
    fstype: str
    ours: bool
    said: Space | int | None


def probe(patient: Patient) -> tuple[Facts, ...]:
    """Look in mountinfo, which asks no server, and then have a child process ask."""
    places = (
        ("silo", patient.config.silo.mountpoint, SILO),
        ("statuses", patient.config.proc.mountpoint, AGENT),
    )
    return tuple(_look(*place) for place in places)


def _look(check: str, place: str, unit: str) -> Facts:
    there = mounts.find(place)
    if there is None:
        return Facts(check, place, unit, "", False, None)
    return Facts(check, place, unit, there.fstype, there.ours, space(place))


def verdict(facts: tuple[Facts, ...], patient: Patient) -> Iterator[Finding]:
    """A finding for each mount, and one for the quota where the silo answers."""
    for one in facts:
        yield _mount(one)
        if one.check == "silo" and one.ours and isinstance(one.said, Space):
            yield _quota(one.said, patient)


def _mount(one: Facts) -> Finding:
    mend = restart(one.unit)
    if not one.fstype:
        return Finding(one.check, "error", f"nothing is mounted at {one.place}", mend)
    if not one.ours:
        text = f"{one.place} is covered by another file system ({one.fstype})"
        return Finding(one.check, "error", text, f"umount {quoted(one.place)} && {mend}")
    if one.said is None:
        return Finding(one.check, "error", f"{one.place} does not answer", mend)
    if one.said == errno.ENOTCONN:
        return Finding(one.check, "error", f"{one.place}: its server has died", mend)
    if isinstance(one.said, int):
        return Finding(one.check, "error", f"{one.place}: {os.strerror(one.said)}", mend)
    return Finding(one.check, "ok", f"{one.place} is mounted and answers")


def _quota(said: Space, patient: Patient) -> Finding:
    used = 1 - said.available / said.size if said.size else 0.0
    files = 1 - said.files_available / said.files if said.files else 0.0
    silo = patient.config.silo
    mend = overlay(
        "60-quota.toml",
        f"[silo]\\nquota_bytes = {max(2 * silo.quota_bytes, _MEBI)}\\n"
        f"quota_files = {max(2 * silo.quota_files, 16)}\\n",
        SILO,
    )
    text = f"{used:.0%} of {said.size // _MEBI} MiB and {files:.0%} of {said.files} files used"
    if max(used, files) > 0.995 or said.available < 4096 * 16 or said.files_available < 4 <= said.files:  # fmt: skip
        return Finding("quota", "error", f"the silo is full: {text}", mend)
    if max(used, files) > _TIGHT:
        return Finding("quota", "warning", f"the silo is nearly full: {text}", mend)
    return Finding("quota", "ok", text)
