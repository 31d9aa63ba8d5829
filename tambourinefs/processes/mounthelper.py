"""What mount(8) runs for `-t fuse.tambourine` (/sbin/mount.fuse.tambourine), by hand and for a line of /etc/fstab.

It mounts no file system itself: a silo without its server, its sandbox and its watchdog is none. It starts the unit whose
mount is asked for, and binds the agent's at any other place.
"""

from __future__ import annotations

import logging
import os
import re
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tambourinefs import mounts
from tambourinefs.errors import AlreadyExists, HostError, InvalidInput, RefusedByPolicy
from tambourinefs.model import paths
from tambourinefs.model.config import Config

_log = logging.getLogger(__name__)

SILO_UNIT: Final = "tambourine-silo.service"
AGENT_UNIT: Final = "tambourine.service"
MODULE_UNIT: Final = "tambourine-module.service"
LITERAL_UNIT: Final = "proc-tambourine.mount"
# A mount unit gives mount(8) 90 s (DefaultTimeoutStartSec=): what went wrong shall be said before.
_START_SECONDS: Final = 75.0

# mount(8): what holds for each of our mounts in any case, and what is for mount(8) and systemd, not for us.
_GRANTED: Final = frozenset(
    {"defaults", "rw", "suid", "dev", "exec", "nosuid", "nodev", "noexec", "relatime", "async", "nouser", "silent", "loud"}
    | {"auto", "noauto", "nofail", "_netdev", "allow_other", "default_permissions"}
)  # fmt: skip
_READ_ONLY: Final = "ro"


@dataclass(frozen=True)
class Request:
    """What mount(8) was asked for. `spec`, fstab's first column: silo or proc, also with mountinfo's "tambourine-"."""

    spec: str
    place: Path  # absolute, its parent resolved
    options: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Raises InvalidInput where `spec` is none of ours."""
        name = self.spec.removeprefix("tambourine-")
        if name not in {"silo", "proc"}:
            raise InvalidInput(
                f'there is no "{self.spec}" to mount', hint="There are silo and proc."
            )
        return name


def check_options(name: str, options: Iterable[str]) -> None:
    """Raise InvalidInput for an option that we would not keep: what a mount may do is said in config.toml, in one place."""
    allowed = _GRANTED | ({_READ_ONLY} if name == "proc" else frozenset())
    for option in options:
        if option and option not in allowed and not option.lower().startswith("x-"):
            raise InvalidInput(
                f'{name}: option "{option}" cannot be set here', hint=f"See {paths.CONFIG}."
            )


def mount(request: Request, config: Config) -> None:
    """Make the mount, and return when it answers.

    Raises InvalidInput, AlreadyExists (it is there), RefusedByPolicy (not at this place), HostError.
    """
    name = request.name
    check_options(name, request.options)
    silo, proc = Path(config.silo.mountpoint), Path(config.proc.mountpoint)
    if name == "silo":
        if request.place != silo:
            raise RefusedByPolicy(
                f"the silo's place is {silo} (silo.mountpoint in {paths.CONFIG})",
                hint=f"To see it elsewhere, too: mount --bind {silo} {request.place}",
            )
        _start(SILO_UNIT, silo)
    elif request.place == proc:
        _start(AGENT_UNIT, proc)
    elif request.place == Path(paths.PROC_LITERAL) and not _is_of_systemd():
        _mount_literal(request.place)
    else:
        _bind(proc, request.place)


def _start(unit: str, place: Path) -> None:
    """Start the unit that serves `place`, or start it anew where its mount has been taken off."""
    _check_free(place, unit)
    _check_order(place)
    # Unmounted a moment ago: a server that is about to end would be left alone by `start`.
    ending = mounts.find(place, process="1") is None and _show(unit, "ActiveState") == "active"
    _systemctl("restart" if ending else "start", unit)
    if mounts.find(place) is None:
        raise HostError(
            f"{unit} runs, and nothing is mounted at {place} here",
            hint="It mounts in the mount namespace of PID 1; is this another one (a container)?",
        )


def _check_free(place: Path, unit: str) -> None:
    there = mounts.find(place)
    if there is None:
        return
    if not there.ours:
        raise AlreadyExists(
            f"{place} already carries a {there.fstype} ({there.source.decode('utf-8', 'replace')})",
            hint=f"umount {place}" if there.fstype != "autofs" else "x-systemd.automount cannot be used here.",
        )  # fmt: skip
    if not _is_of_systemd() and _show(unit, "ActiveState") == "active":
        raise AlreadyExists(
            f"{place} is mounted already: {unit} serves it",
            hint=f"systemctl restart {unit} mounts it anew.",
        )


def _check_order(place: Path) -> None:
    """At boot a line of fstab without `nofail` holds up local-fs.target, and that holds up every service: nobody would
    ever come to an end. Raises HostError then, at once.
    """
    if not _is_of_systemd():
        return
    unit = subprocess.run(
        ["systemd-escape", "--path", "--suffix=mount", str(place)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout.strip()
    for target in ("local-fs.target", "remote-fs.target"):
        if (
            target in _show(unit, "Before").split()
            and _show(target, "ActiveState") != "active"
            and _show(target, "Job")
        ):
            raise HostError(
                f"{place} would wait for {target}, which waits for it",
                hint='Its line in /etc/fstab needs the option "nofail".',
            )


def _mount_literal(place: Path) -> None:
    """/proc/tambourine, by hand: our unit, or the one that systemd made of a line in fstab."""
    _check_free(place, LITERAL_UNIT)
    _check_module(place)
    _systemctl("start", LITERAL_UNIT)
    if mounts.find(place) is None:
        raise HostError(f"{LITERAL_UNIT} did not mount", hint=f"systemctl status {LITERAL_UNIT}")


def _check_module(place: Path) -> None:
    if not place.is_dir():
        raise HostError(
            f"{place} is not there: the kernel module that makes it is not loaded",
            hint=f"modprobe tambourine (package tambourine-dkms). The statuses are at {paths.PROC} without it.",
        )


def _bind(proc: Path, place: Path) -> None:
    there = mounts.find(place)
    if there is not None:
        what = "the statuses" if there.ours else f"a {there.fstype}"
        raise AlreadyExists(f"{place} already carries {what}", hint=f"umount {place}")
    if place == Path(paths.PROC_LITERAL):
        _check_module(place)
        if _show(MODULE_UNIT, "ActiveState") != "active":
            raise HostError(
                f"{MODULE_UNIT} does not hold the kernel module",
                hint=f'The line in /etc/fstab needs the option "x-systemd.requires={MODULE_UNIT}".',
            )
    _check_order(place)
    if mounts.find(proc) is None:
        _start(AGENT_UNIT, proc)
    mounts.bind(proc, place)


def _is_of_systemd() -> bool:
    """Whether a mount unit runs us: then a job waits for us that systemctl would wait for, and its unit is ours to make."""
    return of_mount_unit(Path("/proc/self/cgroup").read_text())


def of_mount_unit(cgroup: str) -> bool:
    """From the text of /proc/self/cgroup (cgroups(7)), of version 1 or 2: is a mount unit's control group among them?"""
    return re.search(r"^[0-9]+:[^:]*:.*/[^/]+\.mount$", cgroup, re.MULTILINE) is not None


def _show(unit: str, name: str) -> str:
    shown = subprocess.run(
        ["systemctl", "show", f"--property={name}", "--value", "--", unit],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_START_SECONDS,
        check=False,
    )
    if shown.returncode != 0:
        raise HostError(f"systemctl: {shown.stderr.strip()}")
    return shown.stdout.strip()


def _systemctl(verb: str, unit: str) -> None:
    try:
        done = subprocess.run(
            ["systemctl", verb, "--", unit],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_START_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise HostError(
            f"{unit} did not start within {_START_SECONDS:.0f} s", hint=f"systemctl status {unit}"
        ) from None
    if done.returncode != 0:
        raise HostError(done.stdout.strip(), hint=f"journalctl --boot --unit={unit}")
    _log.info("systemctl %s %s", verb, unit)


def resolved(place: str) -> Path:
    """The directory as mounts are named: only the parent is resolved, a dead mount must not be asked."""
    path = Path(os.path.abspath(place))
    return path.parent.resolve() / path.name
