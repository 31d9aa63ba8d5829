"""Run the programs that the lab needs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

# What Debian calls the package of each program.
PACKAGES: Final = {
    "systemd-nspawn": "systemd-container",
    "dbus-daemon": "dbus",
    "mkfs.ext4": "e2fsprogs",
    "losetup": "mount",
    "nsenter": "util-linux",
    "unshare": "util-linux",
    "setpriv": "util-linux",
    "umount": "mount",
    "mount": "mount",
    "cp": "coreutils",
    "ip": "iproute2",
    "openssl": "openssl",
}


INOTIFY_INSTANCES: Final = 1024


class LabError(Exception):
    """The message names the host and what to do."""


def check() -> None:
    """Raise LabError when the lab cannot work here: not root, a program missing, no FUSE."""
    if os.geteuid() != 0:
        raise LabError("the lab needs root (mounts, cgroups, namespaces): run it with sudo")
    missing = sorted({package for name, package in PACKAGES.items() if which(name) is None})
    if missing:
        raise LabError(
            f"programs are missing; install them: apt-get install -y {' '.join(missing)}"
        )
    if not os.path.exists("/dev/fuse"):
        raise LabError("/dev/fuse is missing: modprobe fuse")


def make_room() -> None:
    """Raise the limit of inotify instances of root.

    Each systemd has five, and all hosts count as one user. With 128, the fourth host fails to boot
    without a message.
    """
    knob = Path("/proc/sys/fs/inotify/max_user_instances")
    if int(knob.read_text()) < INOTIFY_INSTANCES:
        try:
            knob.write_text(str(INOTIFY_INSTANCES))
        except OSError as error:
            say(f"lab: cannot raise {knob} ({error.strerror}); more than three hosts may not boot")


def which(name: str) -> str | None:
    """Where a program is, also when PATH lacks the sbin directories (a user's PATH on Debian does)."""
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin:/usr/bin:/bin")


def run(*argv: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a program of the lab's own; LabError with what it printed when it fails.

    It ends with this process, so that it cannot run beside a later cleanup.
    """
    program = which(argv[0]) or argv[0]
    setpriv = which("setpriv") or "setpriv"
    done = subprocess.run(
        [setpriv, "--pdeathsig", "KILL", "--", program, *argv[1:]],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    if check and done.returncode != 0:
        raise LabError(
            f"{' '.join(argv)}: {(done.stderr or done.stdout).strip() or done.returncode}"
        )
    return done


def wait_until(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Return when condition() holds; LabError naming `what` after so many seconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise LabError(f"waited {seconds:g} s for {what}")
        time.sleep(0.02)


def say(text: str) -> None:
    """A line of progress, on standard error: standard output belongs to what `exec` runs."""
    print(text, file=sys.stderr, flush=True)
