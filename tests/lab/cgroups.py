"""A cgroup of its own for each host, in every hierarchy: v1 controllers, the named v1 one, v2, or v2 alone.

Two hosts that share a cgroup kill each other's units (systemd would remove the other's tree).
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from tests.lab import fuse
from tests.lab.tools import LabError


def hierarchies() -> list[Path]:
    """The mount point of each cgroup hierarchy of this machine, once each."""
    found: dict[str, Path] = {}
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        fields, (kind, _, options) = before.split(), after.split()[:3]
        mountpoint = fields[4]
        if (
            kind in {"cgroup", "cgroup2"}
            and fields[3] == "/"
            and mountpoint.startswith("/sys/fs/cgroup")
        ):
            found.setdefault(kind + options, Path(mountpoint))
    return list(found.values())


def make(name: str) -> list[Path]:
    """Make the cgroup in each hierarchy; returns the `cgroup.procs` files to write a pid into."""
    files = []
    for mountpoint in hierarchies():
        group = mountpoint / name
        group.mkdir(exist_ok=True)
        for knob in ("cpuset.cpus", "cpuset.mems"):
            # cgroup v1's cpuset starts empty and takes no process until it has been filled.
            if (mountpoint / knob).exists() and not (group / knob).read_text().strip():
                (group / knob).write_text((mountpoint / knob).read_text())
        files.append(group / "cgroup.procs")
    return files


def exec_files(name: str) -> list[Path]:
    """Where a process that enters a running host from outside belongs: a leaf beside the host's own units."""
    files = []
    for mountpoint in hierarchies():
        payload = mountpoint / name / "payload"
        group = payload / "lab-exec" if payload.is_dir() else mountpoint / name
        group.mkdir(exist_ok=True)
        files.append(group / "cgroup.procs")
    return files


def join(files: list[Path]) -> None:
    """Put the calling process there."""
    for file in files:
        file.write_text(str(os.getpid()))


def processes(name: str) -> set[int]:
    """Every process in the host's cgroups, at any depth."""
    pids: set[int] = set()
    for mountpoint in hierarchies():
        for top, _, files in os.walk(mountpoint / name):
            if "cgroup.procs" in files:
                try:
                    pids.update(map(int, Path(top, "cgroup.procs").read_text().split()))
                except OSError:  # removed meanwhile, or a threaded cgroup
                    continue
    return pids


def end(name: str, seconds: float = 60) -> None:
    """Kill all that runs in the host's cgroups and wait until it is gone."""
    deadline = time.monotonic() + seconds
    stuck = time.monotonic() + 5
    while pids := processes(name) - {os.getpid()}:
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        if time.monotonic() > stuck:
            fuse.abort(pids)
            stuck = deadline
        if time.monotonic() > deadline:
            raise LabError(f"processes of {name} do not end: {sorted(pids)}")
        time.sleep(0.01)


def remove(name: str, seconds: float = 60) -> None:
    """Remove the host's cgroups, from the leaves up; they are empty already."""
    deadline = time.monotonic() + seconds
    for mountpoint in hierarchies():
        while (mountpoint / name).exists():
            for top, _, _ in os.walk(mountpoint / name, topdown=False):
                try:
                    os.rmdir(top)
                except FileNotFoundError:
                    continue
                except OSError as error:  # EBUSY: the kernel still counts a process that just ended
                    if time.monotonic() > deadline:
                        raise LabError(f"cannot remove the cgroup {top}: {error}") from error
                    time.sleep(0.01)
