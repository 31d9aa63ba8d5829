"""/proc/tambourine: the kernel module, which makes the directory, and the bind mount on it."""

from __future__ import annotations

import errno
import os
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tambourinefs.doctor.check import AGENT, PROC_MOUNT, Finding, restart
from tambourinefs.doctor.commands import FilesystemUsage, run, statvfs
from tambourinefs.model import paths
from tambourinefs.mount import mounts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tambourinefs.doctor.check import CheckContext

# Where dkms(8) keeps the sources of a module.
_DKMS: Final = Path("/var/lib/dkms/tambourine")
_SOURCE: Final = paths.PREFIX / "share/tambourine/kernel"
_LOADED_AT_BOOT: Final = "/usr/lib/modules-load.d/tambourine.conf"


@dataclass(frozen=True, slots=True)
class ModuleState:
    """What is at /proc/tambourine; where the module is, if it is not loaded."""

    exists: bool  # the directory
    fstype: str = ""  # of the topmost mount; "" if nothing is mounted
    ours: bool = False
    agents: bool = False  # it is the mount of the running agent, not of an earlier one
    usage: FilesystemUsage | int | None = None  # see statvfs()
    on_disk: bool = False  # built for this kernel, but not loaded
    in_dkms: bool = False  # known to DKMS, but not built for this kernel


def probe(context: CheckContext) -> ModuleState:
    """Read /proc and mountinfo, which touch no mount; a child process then touches the mount."""
    place = str(paths.PROC_LITERAL)
    if paths.PROC_LITERAL.name not in os.listdir("/proc"):
        return ModuleState(
            False, on_disk=run("modinfo", "tambourine").succeeded, in_dkms=_DKMS.is_dir()
        )
    there = mounts.find(place)
    if there is None:
        return ModuleState(True)
    statuses = mounts.find(context.config.proc.mountpoint)
    agents = statuses is not None and statuses.device == there.device
    return ModuleState(
        True,
        there.fstype,
        there.is_tambourine,
        agents,
        statvfs(place) if there.is_tambourine else None,
    )


def findings(observed: ModuleState) -> Iterator[Finding]:
    """One finding. A missing mount is a warning only: /run/tambourine/proc has the same files."""
    place, fix = str(paths.PROC_LITERAL), restart(PROC_MOUNT)
    if not observed.exists:
        text = f"not loaded: no {place}; the statuses are at {paths.PROC}"
        yield Finding("module", "warning", text, _load(observed))
    elif not observed.fstype:
        yield Finding("module", "warning", f"nothing is mounted at {place}", fix)
    elif not observed.ours:
        text = f"{place} is covered by another file system ({observed.fstype})"
        yield Finding("module", "error", text, f"umount {shlex.quote(place)} && {fix}")
    elif isinstance(observed.usage, FilesystemUsage):
        yield Finding("module", "ok", f"{place} shows the statuses")
    else:
        # A mount of the running agent that does not answer is not fixed by binding it again.
        fix = restart(AGENT) if observed.agents else fix
        yield Finding("module", "error", f"{place} {_failure(observed.usage)}", fix)


def _failure(answer: int | None) -> str:
    if answer is None:
        return "does not answer"
    return (
        "shows a mount whose server has exited" if answer == errno.ENOTCONN else os.strerror(answer)
    )


def _load(observed: ModuleState) -> str:
    """From what is installed on this host: Tambourine's packages are in no archive."""
    load = f"modprobe tambourine && systemctl start {PROC_MOUNT}"
    if observed.on_disk:
        return load
    headers = "apt-get install --yes --no-install-recommends dkms linux-headers-$(uname -r)"
    if observed.in_dkms:
        return f"{headers} && dkms autoinstall && {load}"
    at_boot = f"install -D -m 0644 {_SOURCE}/modules-load.conf {_LOADED_AT_BOOT}"
    return f"{headers} && dkms install {_SOURCE} && {at_boot} && {load}"
