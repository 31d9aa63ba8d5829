"""/proc/tambourine: the directory, which is a kernel module's, and on it the statuses, once more."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tambourinefs import mounts
from tambourinefs.doctor.ask import Space, ask, space
from tambourinefs.doctor.finding import Finding
from tambourinefs.doctor.patient import AGENT, LITERAL, quoted, restart
from tambourinefs.model import paths

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tambourinefs.doctor.patient import Patient

# dkms(8) keeps there what it was given to build.
_DKMS: Final = Path("/var/lib/dkms/tambourine")
_SOURCE: Final = paths.PREFIX / "share/tambourine/kernel"
_LOADED_AT_BOOT: Final = "/usr/lib/modules-load.d/tambourine.conf"


@dataclass(frozen=True, slots=True)
class Facts:
    """What is at /proc/tambourine, and where the module is when it is not loaded."""

    there: bool  # the directory
    fstype: str = ""  # of what is mounted on top, "" where nothing is
    ours: bool = False
    agents: bool = (
        False  # the mount is the one that the agent serves now, not one of an agent that has ended
    )
    said: Space | int | None = None  # what its server answered, None: nothing in time
    on_disk: bool = False  # built for this kernel, and only not loaded
    in_dkms: bool = False  # DKMS has it, and not for this kernel


def probe(patient: Patient) -> Facts:
    """Look in a listing of /proc and in mountinfo, which ask no mount; then have a child process ask it."""
    place = str(paths.PROC_LITERAL)
    if paths.PROC_LITERAL.name not in os.listdir("/proc"):
        return Facts(False, on_disk=ask("modinfo", "tambourine").good, in_dkms=_DKMS.is_dir())
    there = mounts.find(place)
    if there is None:
        return Facts(True)
    statuses = mounts.find(patient.config.proc.mountpoint)
    agents = statuses is not None and statuses.device == there.device
    return Facts(True, there.fstype, there.ours, agents, space(place) if there.ours else None)


def verdict(facts: Facts) -> Iterator[Finding]:
    """One finding. Only what would mislead a reader there is an error: the statuses are at /run/tambourine/proc as well."""
    place, mend = str(paths.PROC_LITERAL), restart(LITERAL)
    if not facts.there:
        text = f"not loaded: no {place}; the statuses are at {paths.PROC}"
        yield Finding("module", "warning", text, _load(facts))
    elif not facts.fstype:
        yield Finding("module", "warning", f"{place} is there and shows nothing", mend)
    elif not facts.ours:
        text = f"{place} is covered by another file system ({facts.fstype})"
        yield Finding("module", "error", text, f"umount {quoted(place)} && {mend}")
    elif isinstance(facts.said, Space):
        yield Finding("module", "ok", f"{place} shows the statuses")
    else:
        # The agent's own mount does not answer: its line says so as well, and to bind it anew would help nobody.
        mend = restart(AGENT) if facts.agents else mend
        yield Finding("module", "error", f"{place} {_silence(facts.said)}", mend)


def _silence(said: int | None) -> str:
    if said is None:
        return "does not answer"
    return "shows a mount whose server has died" if said == errno.ENOTCONN else os.strerror(said)


def _load(facts: Facts) -> str:
    """The module comes from this host alone, or as source from what is installed: our packages are in no archive."""
    load = f"modprobe tambourine && systemctl start {LITERAL}"
    if facts.on_disk:
        return load
    headers = "apt-get install --yes --no-install-recommends dkms linux-headers-$(uname -r)"
    if facts.in_dkms:
        return f"{headers} && dkms autoinstall && {load}"
    at_boot = f"install -D -m 0644 {_SOURCE}/modules-load.conf {_LOADED_AT_BOOT}"
    return f"{headers} && dkms install {_SOURCE} && {at_boot} && {load}"
