"""Takes Tambourine off a host: `tambourine uninstall`, and the package's prerm, which leaves dpkg's own files to dpkg.

What becomes of the managed services is said beforehand: kept, they run on without an owner; removed, what stood there
before them is put back. Each step may find its work done: run again after a kill it gets to the end.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tambourinefs.errors import HostError
from tambourinefs.install import host, leftovers
from tambourinefs.install.environment import PREFIX
from tambourinefs.install.ledger import FILE, Ledger
from tambourinefs.install.plan import PENDING, Changes, Step, carry_out
from tambourinefs.install.programs import run, succeeds
from tambourinefs.model import paths
from tambourinefs.mount import mounts

_STOP_SECONDS: Final = 120.0
# A thousand services, each stopped in its own time.
_WITHDRAW_SECONDS: Final = 1800.0
_STAMPS: Final = "/var/lib/systemd/timers"
MODULE: Final = Path("/usr/lib/modules-load.d/tambourine.conf")  # of the package tambourine-dkms
MOUNTS: Final = (paths.PROC_LITERAL, paths.PROC, paths.SILO)
_UNIT_DIRECTORIES: Final = (
    str(paths.UNITS),
    str(host.LOCAL / "systemd/system"),
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
)


@dataclass(frozen=True)
class Removal:
    """What the administrator asked for."""

    remove_services: bool = False  # put back what stood there before them; else they run on
    packaged: bool = False  # dpkg removes the files of the package, and keeps ours until it purges
    dry_run: bool = False


def services() -> list[str]:
    """The managed services of this host, as far as the records' names tell."""
    directory = Path(paths.AGENT_STATE, "services")
    if not directory.is_dir():
        return []
    return sorted(file.stem.replace("_", "/", 1) for file in directory.glob("[!.]*.json"))


def uninstall(removal: Removal, say: Callable[[str], None]) -> None:
    """Do it and say what was done.

    Raises HostError; then run it again.
    """
    if os.geteuid() != 0:
        raise HostError("uninstalling needs root", hint="Run it with sudo.")
    if host.PACKAGED.exists() and not removal.packaged:
        raise HostError(
            "Tambourine was installed here by its Debian package",
            hint="apt purge tambourine (or apt remove, which keeps configuration and state)",
        )
    carry_out(steps(removal), say, Changes(Ledger(FILE), image=True), dry_run=removal.dry_run)


def steps(removal: Removal) -> list[Step]:
    """The steps, in their order."""
    what = "removed, with what stood there before put back" if removal.remove_services else "kept"
    found = [
        Step(
            "sync and Bombshell stopped", lambda _: _stop(host.SYNC, "tambourine-bombshell.service")
        ),
        Step(
            f"managed services {what}", lambda _: _settle_services(remove=removal.remove_services)
        ),
        Step("systemd units stopped and disabled", lambda _: _disable()),
        Step("mounts", lambda _: _detach()),
        Step(f"{paths.RUN}", lambda _: _remove_trees(str(paths.RUN), str(PENDING))),
    ]
    if not removal.packaged:
        found += [
            Step("files", _remove_files),
            Step("users and groups", _remove_users),
            Step(
                "configuration, certificates and state", lambda _: _remove_trees(*host.DIRECTORIES)
            ),
            Step(f"{PREFIX}", lambda _: _remove_trees(str(PREFIX))),
        ]
    return [*found, Step("kernel module", lambda _: _module())]


def _systemd() -> bool:
    return Path("/run/systemd/system").is_dir()


def _stop(*units: str) -> str:
    running = [name for name in units if _systemd() and not _is_inactive(name)]
    if running:
        run("systemctl", "stop", *running, timeout=_STOP_SECONDS)
    return f"stopped {', '.join(running)}" if running else ""


def _is_inactive(unit: str) -> bool:
    said = run("systemctl", "show", "--property=ActiveState", "--value", unit).strip()
    return said in {"inactive", "failed"}


def _settle_services(*, remove: bool) -> str:
    found = services()
    if not remove:
        return f"{len(found)} run on as they are, without an owner" if found else ""
    _stop("tambourine.service")  # its state has one user at a time
    if found:
        if not host.COMMAND.exists():
            raise HostError(
                f"{host.COMMAND} is missing, which would remove {len(found)} services",
                hint="Install Tambourine again first, or give --keep-services.",
            )
        run(str(host.COMMAND), "agent", "--withdraw-all", timeout=_WITHDRAW_SECONDS)
    return f"withdrawn {', '.join(found)}" if found else ""


def _disable() -> str:
    there = [name for name in host.UNITS if _unit_is_there(name)]
    if not there:
        return ""
    if not _systemd():
        run("systemctl", "--root=/", "disable", "--quiet", *there)
        return "disabled"
    run("systemctl", "disable", "--now", "--quiet", *there, timeout=_STOP_SECONDS)
    succeeds("systemctl", "reset-failed", *there)
    # When a timer ran last systemd remembers beyond the timer (Persistent= in systemd.timer(5)).
    Path(_STAMPS, f"stamp-{host.RENEWAL}").unlink(missing_ok=True)
    return f"stopped and disabled {', '.join(there)}"


def _unit_is_there(name: str) -> bool:
    return any(Path(place, name).exists() for place in _UNIT_DIRECTORIES)


def _detach() -> str:
    found = []
    for place in MOUNTS:
        while mounts.detach(str(place)):
            found.append(str(place))
    return f"detached {', '.join(found)}" if found else ""


def _remove_files(changes: Changes) -> str:
    """The single files that the ledger knows; those of a version from before it by their places."""
    found = leftovers.take_away(changes.ledger, all_are_ours=not changes.ledger.existed)
    if found and _systemd():
        run("systemctl", "daemon-reload")
    return f"removed {', '.join(map(str, found))}" if found else ""


def _remove_trees(*trees: str) -> str:
    found = [Path(tree) for tree in trees if os.path.lexists(tree)]
    for tree in found:
        _check_no_mount(tree)
        _remove_tree(tree)
    return f"removed {', '.join(map(str, found))}" if found else ""


def _remove_tree(tree: Path) -> None:
    if tree.is_symlink() or not tree.is_dir():
        tree.unlink()
    elif tree.is_mount():  # a disk of its own: who mounted it there keeps it, empty
        for path in tree.iterdir():
            _remove_tree(path)
    else:
        shutil.rmtree(tree)


def _check_no_mount(tree: Path) -> None:
    """What is mounted below must not be emptied.

    Raises HostError.
    """
    below = f"{tree}/".encode()
    for mount in mounts.parse(Path("/proc/self/mountinfo").read_bytes()):
        if mount.mountpoint.startswith(below):
            place = mount.mountpoint.decode("utf-8", "replace")
            raise HostError(
                f"{place} is mounted below {tree}", hint=f"umount {place}, and run this again."
            )


def _module() -> str:
    """It came by itself and goes by itself; who removes us is told so."""
    if MODULE.exists():  # that package, or who did by hand what it does
        return (
            "stays, and with it an empty /proc/tambourine; to remove it: apt purge tambourine-dkms"
        )
    loaded = Path("/proc/modules")  # which a kernel without modules does not have
    if loaded.exists() and "\ntambourine " in f"\n{loaded.read_text()}":
        return "stays loaded until the next boot, or: modprobe -r tambourine"
    return ""


def _remove_users(changes: Changes) -> str:
    """Those that the ledger lists; one that existed before the installation stays."""
    known = changes.ledger
    found = []
    for name in host.USERS:
        if _made(known, f"user:{name}") and succeeds("getent", "passwd", name):
            run("userdel", name)
            found.append(name)
    for name in (*host.USERS, paths.GROUP):
        if _made(known, f"group:{name}") and succeeds("getent", "group", name):
            run("groupdel", name)
            found.append(f"group {name}")
    return f"removed {', '.join(found)}" if found else ""


def _made(ledger: Ledger, what: str) -> bool:
    return what in ledger or not ledger.existed
