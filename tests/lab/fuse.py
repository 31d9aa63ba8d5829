"""FUSE connections whose server is dying: a thread of it may wait for a lock that is held by a request to itself, and
no signal ends either (Documentation/filesystems/fuse: "Aborting a filesystem connection")."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterable
from pathlib import Path

from tests.lab.tools import run


def abort(pids: Iterable[int]) -> None:
    """Abort every FUSE connection that these processes see mounted: their requests fail, their threads can end."""
    numbers = {number for pid in pids for number in _connections(pid)}
    if not numbers:
        return
    with tempfile.TemporaryDirectory(prefix="lab-fusectl-") as control:
        run("mount", "-t", "fusectl", "fusectl", control)
        try:
            for number in numbers:
                with contextlib.suppress(OSError):  # it has just gone
                    Path(control, number, "abort").write_text("1\n")
        finally:
            run("umount", control)


def _connections(pid: int) -> set[str]:
    """By mountinfo (proc(5)) of any of its threads: a process that is half gone has none itself. The number is the minor
    of the mount's device.
    """
    found = set()
    for path in Path(f"/proc/{pid}/task").glob("*/mountinfo"):
        with contextlib.suppress(OSError):
            for line in path.read_text().splitlines():
                fields = line.split()
                if " - fuse.tambourine " in line:
                    found.add(fields[2].partition(":")[2])
    return found
