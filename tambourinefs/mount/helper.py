"""`mount.fuse.tambourine`: the program that mount(8) runs for `-t fuse.tambourine`, by hand and for
a line of /etc/fstab.

Its arguments are mount's ("EXTERNAL HELPERS" there). It makes no file system itself: a silo needs
its server, its sandbox and its watchdog. It starts the unit that owns the mount, and binds the
statuses at any other place.
"""

from __future__ import annotations

import getopt
import logging
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tambourinefs.errors import (
    AlreadyExists,
    HostError,
    InvalidInput,
    RefusedByPolicy,
    TambourineError,
)
from tambourinefs.model import paths
from tambourinefs.model.config import Config
from tambourinefs.mount import mounts

_log = logging.getLogger(__name__)

_USAGE: Final = (
    "usage: mount.fuse.tambourine silo|proc DIRECTORY [-fnsv] [-N NS] [-o OPTION,…] [-t TYPE]"
)
# mount(8), EXIT STATUS
USAGE_STATUS: Final = 1
FAILURE_STATUS: Final = 32

SILO_UNIT: Final = "tambourine-silo.service"
AGENT_UNIT: Final = "tambourine.service"
MODULE_UNIT: Final = "tambourine-module.service"
LITERAL_UNIT: Final = "proc-tambourine.mount"
# Below the 90 s that a mount unit gives mount(8) (DefaultTimeoutStartSec=), so that the reason is
# told.
_START_SECONDS: Final = 75.0

# mount(8): options that hold for each Tambourine mount anyway, and options for mount(8) and systemd
# alone.
_ACCEPTED: Final = frozenset(
    {"defaults", "rw", "suid", "dev", "exec", "nosuid", "nodev", "noexec", "relatime", "async", "nouser", "silent", "loud"}
    | {"auto", "noauto", "nofail", "_netdev", "allow_other", "default_permissions"}
)  # fmt: skip


@dataclass(frozen=True)
class Request:
    """What mount(8) asks for. `spec`, fstab's first column: silo or proc, also with mountinfo's
    "tambourine-".
    """

    spec: str
    place: Path  # absolute, its parent resolved
    options: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Raises InvalidInput where `spec` is neither."""
        name = self.spec.removeprefix("tambourine-")
        if name not in {"silo", "proc"}:
            raise InvalidInput(
                f'"{self.spec}" is not a Tambourine mount', hint="The mounts are silo and proc."
            )
        return name


def check_options(name: str, options: Iterable[str]) -> None:
    """Raise InvalidInput for an option that would have no effect: config.toml alone says what a
    mount may do.
    """
    accepted = _ACCEPTED | ({"ro"} if name == "proc" else frozenset())
    for option in options:
        if option and option not in accepted and not option.lower().startswith("x-"):
            raise InvalidInput(
                f'{name}: option "{option}" cannot be set here', hint=f"See {paths.CONFIG}."
            )


def mount(request: Request, config: Config) -> None:
    """Make the mount, and return when it answers.

    Raises InvalidInput, AlreadyExists (the place is mounted), RefusedByPolicy (not at this place),
    HostError.
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
    elif request.place == Path(paths.PROC_LITERAL) and not _run_by_mount_unit():
        _mount_literal(request.place)
    else:
        _bind(proc, request.place)


def _start(unit: str, place: Path) -> None:
    """Start the unit that serves `place`, or restart it where its mount has been unmounted."""
    _check_free(place, unit)
    _check_order(place)
    # Unmounted a moment ago: `start` would do nothing about a server that is still about to end.
    ending = mounts.find(place, process="1") is None and _show(unit, "ActiveState") == "active"
    _systemctl("restart" if ending else "start", unit)
    if mounts.find(place) is None:
        raise HostError(
            f"{unit} runs, but {place} is not mounted here",
            hint="It mounts in the mount namespace of PID 1; is this another one (a container)?",
        )


def _check_free(place: Path, unit: str) -> None:
    there = mounts.find(place)
    if there is None:
        return
    if not there.is_tambourine:
        raise AlreadyExists(
            f"{place} already carries a {there.fstype} ({there.source.decode('utf-8', 'replace')})",
            hint=f"umount {place}" if there.fstype != "autofs" else "x-systemd.automount cannot be used here.",
        )  # fmt: skip
    if not _run_by_mount_unit() and _show(unit, "ActiveState") == "active":
        raise AlreadyExists(
            f"{place} is mounted already: {unit} serves it",
            hint=f"To mount it again: systemctl restart {unit}",
        )


def _check_order(place: Path) -> None:
    """Raise HostError where the boot would deadlock: a line of fstab without `nofail` holds up
    local-fs.target, which holds up every service, and so the one that mounts.
    """
    if not _run_by_mount_unit():
        return
    unit = _run("systemd-escape", "--path", "--suffix=mount", str(place))
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
    """/proc/tambourine, by hand: Tambourine's mount unit, or the one that systemd made of a line in
    fstab.
    """
    _check_free(place, LITERAL_UNIT)
    _check_module(place)
    _systemctl("start", LITERAL_UNIT)
    if mounts.find(place) is None:
        raise HostError(f"{LITERAL_UNIT} did not mount", hint=f"systemctl status {LITERAL_UNIT}")


def _check_module(place: Path) -> None:
    if not place.is_dir():
        raise HostError(
            f"{place} does not exist: the kernel module that makes it is not loaded",
            hint=f"modprobe tambourine (package tambourine-dkms). The statuses are at {paths.PROC} without it.",
        )


def _bind(proc: Path, place: Path) -> None:
    there = mounts.find(place)
    if there is not None:
        what = "the statuses" if there.is_tambourine else f"a {there.fstype}"
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


def _run_by_mount_unit() -> bool:
    """Whether systemd's mount unit runs this: its job is waiting for this process, so this must not
    wait for the job.
    """
    return of_mount_unit(Path("/proc/self/cgroup").read_text())


def of_mount_unit(cgroup: str) -> bool:
    """From the text of /proc/self/cgroup (cgroups(7)), of version 1 or 2: is a mount unit's control
    group among them?
    """
    return re.search(r"^[0-9]+:[^:]*:.*/[^/]+\.mount$", cgroup, re.MULTILINE) is not None


def _show(unit: str, name: str) -> str:
    return _run("systemctl", "show", f"--property={name}", "--value", "--", unit)


def _systemctl(verb: str, unit: str) -> None:
    try:
        _run("systemctl", verb, "--", unit, hint=f"journalctl --boot --unit={unit}")
    except subprocess.TimeoutExpired:
        raise HostError(
            f"{unit} did not start within {_START_SECONDS:.0f} s", hint=f"systemctl status {unit}"
        ) from None
    _log.info("systemctl %s %s", verb, unit)


def _run(*argv: str, hint: str = "") -> str:
    """What the program prints. Raises HostError with its message where it fails."""
    done = subprocess.run(
        argv,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_START_SECONDS,
        check=False,
    )
    if done.returncode != 0:
        raise HostError(f"{argv[0]}: {done.stderr.strip()}", hint=hint)
    return done.stdout.strip()


def run(arguments: Sequence[str]) -> int:
    """The exit status of one call, as mount(8) defines them; errors go to standard error."""
    try:
        found, rest = getopt.gnu_getopt(list(arguments), "fnsvN:o:t:", ["config="])
        spec, directory = rest
    except (getopt.GetoptError, ValueError):
        print(_USAGE, file=sys.stderr)
        return USAGE_STATUS
    # -n, -s and -t change nothing: there is no mtab, unknown options are refused, the type is
    # fuse.tambourine.
    flags = {flag for flag, _ in found}
    options = tuple(o for flag, text in found if flag == "-o" for o in text.split(","))
    config_file = dict(found).get("--config", str(paths.CONFIG))
    try:
        _mount_as_told(Request(spec, mounts.resolved(directory), options), flags, config_file)
    except TambourineError as error:
        print(f"error: {error.message}", file=sys.stderr)
        if error.hint:
            print(f"hint: {error.hint}", file=sys.stderr)
        return FAILURE_STATUS
    return 0


def _mount_as_told(request: Request, flags: set[str], config_file: str) -> None:
    from tambourinefs.configfile import load
    from tambourinefs.daemon import configure_logging

    configure_logging("info" if "-v" in flags else "warning")
    if os.geteuid() != 0:
        raise HostError("mounting needs root", hint="Run it with sudo.")
    if "-N" in flags:
        raise HostError("-N: mounts of Tambourine are only in the mount namespace of PID 1")
    check_options(request.name, request.options)
    if "-f" not in flags:  # mount(8): do everything but mount
        mount(request, load(config_file).config)


def main() -> None:
    """Run the helper and end the process."""
    sys.exit(run(sys.argv[1:]))
