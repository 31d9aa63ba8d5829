"""Whether an installation could come to its end on this host, asked before anything is written."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from tambourinefs.errors import HostError, InvalidInput
from tambourinefs.install import environment, host
from tambourinefs.install.environment import PREFIX, PYTHON
from tambourinefs.install.ledger import Ledger
from tambourinefs.install.plan import Changes, Options
from tambourinefs.install.programs import succeeds
from tambourinefs.model import formats, names, paths
from tambourinefs.mount import mounts

_MAX_KUBECONFIG: Final = 1 << 20
_MIB: Final = 1 << 20
# What an installation needs, rounded up; an environment that is there is replaced file by file.
_ROOM: Final = {"/opt": 400 * _MIB, "/etc": 4 * _MIB, "/var/lib": 16 * _MIB}
_OF_THE_ENVIRONMENT: Final = {
    "bin",
    "include",
    "lib",
    "lib64",
    "share",
    "pyvenv.cfg",
    ".installed",
    ".config.sha256",
}


def check(options: Options, changes: Changes) -> str:
    """Raise HostError where the installation could not come to its end here, InvalidInput for what was asked wrongly."""
    check_root()
    if not options.image and not options.packaged and not options.starts:
        raise HostError(
            "systemd is not running this host",
            hint="For an image that boots later: --root DIR. To look at Tambourine elsewhere: tests/lab/lab up",
        )
    if options.image and not options.at("/usr/bin/systemctl").exists():
        raise HostError(
            f"{options.root} is no root of a host with systemd",
            hint="--root is the directory that becomes / of the host.",
        )
    if options.at(host.PACKAGED).exists() and not options.packaged:
        raise HostError(
            "Tambourine was installed here by its Debian package",
            hint="Update it by the package: apt install ./tambourine_VERSION.deb. Or first: apt remove tambourine",
        )
    if options.starts and not _has_fuse():
        raise HostError(
            "/dev/fuse is missing",
            hint="Load the kernel module: modprobe fuse. In a container its host must give it: --device /dev/fuse",
        )
    check_names(options)
    _check_state(options)
    _check_writable(options)
    if options.starts:
        _check_mounts()
    if not options.packaged:
        _check_python(options)
        for path in foreign(options, changes.ledger):
            raise HostError(
                f"{path} is there and not ours: it is kept", hint="Move it away and run this again."
            )
        _check_room(options)
    return ""


def check_root() -> str:
    """Raise HostError where we are not."""
    if os.geteuid() != 0:
        raise HostError("installing needs root", hint="Run it with sudo.")
    return ""


def _has_fuse() -> bool:
    fuse = Path("/dev/fuse")
    # What is built into the kernel loads with success, and a container still has no device of it.
    return fuse.exists() or (succeeds("modprobe", "fuse") and fuse.exists())


def check_names(options: Options) -> None:
    """Raise InvalidInput before anything is written: a configuration with an error in it would stop the daemons."""
    if options.node_name and (problem := names.object_name_problem(options.node_name)):
        shown = names.printable(options.node_name[:64])
        raise InvalidInput(f'--node-name "{shown}": {problem}')
    for namespace in options.allow_namespaces:
        if namespace != "*" and (problem := names.namespace_problem(namespace)):
            raise InvalidInput(f'--allow-namespace "{names.printable(namespace[:64])}": {problem}')
    if options.kubeconfig is not None and options.kubeconfig.stat().st_size > _MAX_KUBECONFIG:
        raise InvalidInput(f"{options.kubeconfig} is larger than 1 MiB: that is no kubeconfig")


def _check_state(options: Options) -> None:
    """Before anything is replaced or restarted: an agent that does not know the state would refuse it and manage nothing."""
    file = options.at(paths.AGENT_STATE / "version")
    formats.check_applied(file.read_text(errors="replace") if file.is_file() else "", file.parent)


def _check_python(options: Options) -> None:
    python = options.program(PYTHON)
    if not succeeds(*python, "-c", "import sys; sys.exit(sys.version_info < (3, 11))"):
        raise HostError(
            f"{PYTHON} is missing or older than 3.11", hint="Debian 12 or newer has it."
        )
    if missing := _missing_packages(options):
        raise HostError(
            "packages are missing",
            hint=f"apt-get install --no-install-recommends {' '.join(missing)}",
        )


def _missing_packages(options: Options) -> list[str]:
    python = options.program(PYTHON)
    missing = [] if succeeds(*python, "-c", "import ensurepip, venv") else ["python3-venv"]
    missing += [] if options.at("/usr/bin/dbus-daemon").exists() else ["dbus"]
    if options.wheelhouse is None:  # pyfuse3 and systemd-python are built here
        for package, proof in (
            ("gcc", "/usr/bin/gcc"),
            ("pkg-config", "/usr/bin/pkg-config"),
            ("python3-dev", "/usr/bin/python3-config"),
            ("libfuse3-dev", "/usr/include/fuse3/fuse.h"),
            ("libsystemd-dev", "/usr/include/systemd/sd-daemon.h"),
        ):
            missing += [] if options.at(proof).exists() else [package]
    return missing


def _check_writable(options: Options) -> None:
    for name in ("/etc", "/var/lib", *(() if options.packaged else ("/opt", "/usr/local"))):
        place = _existing(options.at(name))
        if not os.access(place, os.W_OK):  # root is refused by a read-only file system alone
            raise HostError(
                f"{place} is read-only",
                hint=f"mount -o remount,rw {_mount_of(place)}; or install into the image that the host boots: --root DIR",
            )


def _check_room(options: Options) -> None:
    for name, needed in _ROOM.items():
        if name == "/opt" and options.at(environment.MARK).exists():
            continue
        place = _existing(options.at(name))
        free = shutil.disk_usage(place).free
        if free < needed:
            raise HostError(
                f"{place} has {free // _MIB} MiB free, the installation needs {needed // _MIB} MiB",
                hint=f"Free space on {_mount_of(place)} and run this again.",
            )


def _existing(place: Path) -> Path:
    while not place.exists():
        place = place.parent
    return place


def _mount_of(place: Path) -> Path:
    while not place.is_mount():
        place = place.parent
    return place


def _check_mounts() -> None:
    table = mounts.parse(Path("/proc/self/mountinfo").read_bytes())
    for place, there in taken(table):
        what = f"{there.source.decode('utf-8', 'replace')} ({there.fstype})"
        raise HostError(
            f"{place} is a mount point of Tambourine, and {what} is mounted there",
            hint=f"Unmount it (umount {place}), see to it that it does not come back (/etc/fstab), and run this again.",
        )


def taken(table: Sequence[mounts.Mount]) -> Iterator[tuple[str, mounts.Mount]]:
    """The places of our mounts on which another's lies, and the one on top there."""
    on_top = {mount.mountpoint: mount for mount in table}
    for place in (paths.PROC, paths.SILO, paths.PROC_LITERAL):
        there = on_top.get(os.fsencode(Path(os.path.realpath(place.parent), place.name)))
        if there is not None and not there.is_tambourine:
            yield str(place), there


def foreign(options: Options, ledger: Ledger) -> Iterator[Path]:
    """What stands where ours goes and was not put there by us.

    A version from before the ledger left a mark in its environment: then the files at our places are that version's.
    """
    mark = options.at(environment.MARK)
    old = (
        mark.is_file()
        and mark.read_text().strip() != environment.DEPENDENCIES
        and not ledger.existed
    )
    prefix = options.at(PREFIX)
    if PREFIX not in ledger and not mark.exists() and _holds_something_else(prefix):
        yield prefix
    for path in host.places():
        there = options.at(path)
        if old or path in ledger or not (there.exists() or there.is_symlink()):
            continue
        if not (there.is_symlink() and there.readlink().is_relative_to(PREFIX)):
            yield there


def _holds_something_else(prefix: Path) -> bool:
    if not prefix.is_dir():
        return prefix.exists() or prefix.is_symlink()
    there = {path.name for path in prefix.iterdir()}
    return bool(there) and not (there <= _OF_THE_ENVIRONMENT and (prefix / "pyvenv.cfg").exists())
