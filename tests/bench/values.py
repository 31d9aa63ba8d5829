"""open + read + close of a status value beside lxcfs, the kernel's own /proc and a tmpfs."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tests.bench.figures import Row, figure, times_faster
from tests.bench.inside import PROC, columns, install, probe
from tests.bench.rivals import need

if TYPE_CHECKING:
    from tests.lab.hosts import Host

ROUNDS, COUNT = 30, 200
LXCFS = "/run/bench-lxcfs"


def prepare() -> None:
    """The rival, installed."""
    need("lxcfs", "lxcfs")


def measure(host: Host) -> Row:
    lxcfs = need("lxcfs", "lxcfs")
    install(host, "value", 10)
    host.run("mkdir", "-p", LXCFS)
    host.run("cp", f"{PROC}/local/value-1/status", "/run/bench-status")
    serving = host.popen(lxcfs, "-f", "-p", "/run/bench-lxcfs.pid", LXCFS)
    try:
        until_there(host, f"{LXCFS}/proc/meminfo")
        paths = {
            "pid": f"{PROC}/local/value-1/pid",
            "status (live)": f"{PROC}/local/value-1/status",
            "lxcfs meminfo": f"{LXCFS}/proc/meminfo",
            "kernel meminfo": "/proc/meminfo",
            "tmpfs": "/run/bench-status",
        }
        taken = columns(probe(host, "reading", str(ROUNDS), str(COUNT), *paths.values()))
    finally:
        host.run("umount", "-l", LXCFS, check=False)
        serving.kill()
        serving.communicate()
    found = {name: figure(name, samples) for name, samples in zip(paths, taken, strict=True)}
    return Row(
        "values",
        "open + read + close of a status value",
        tuple(found.values()),
        (
            times_faster("pid: times faster than lxcfs", found["pid"], found["lxcfs meminfo"], 4),
            times_faster(
                "status: times faster than lxcfs", found["status (live)"], found["lxcfs meminfo"], 4
            ),
        ),
        "status has ages: the name is looked up each time, the text is rendered once a second",
    )


def until_there(host: Host, path: str) -> None:
    deadline = time.monotonic() + 20
    while host.run("test", "-s", path, check=False).returncode != 0:
        if time.monotonic() > deadline:
            raise SystemExit(f"{path} did not come")
        time.sleep(0.1)
