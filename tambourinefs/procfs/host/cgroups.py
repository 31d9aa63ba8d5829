"""Reads what a control group says of itself, in the three layouts that systemd knows.

`unified` (v2), `hybrid` (v1 controllers, systemd's own tree in v2) and `legacy` (v1 alone); see
"Control Groups" in systemd's documentation and cgroups(7). Kernel memory only: no read here waits
for another process.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tambourinefs.files import filesystem_type

if TYPE_CHECKING:
    from collections.abc import Iterator

CGROUP2_MAGIC: Final = 0x63677270  # statfs(2)
_MAX_BYTES: Final = 65536
_MAX_DEPTH: Final = 32


class Cgroups:
    """The control groups below `root` (/sys/fs/cgroup). A path is a unit's ControlGroup,
    `/system.slice/x.service`.

    Every read gives None where there is no such group, controller or file.
    """

    def __init__(self, root: Path = Path("/sys/fs/cgroup")) -> None:
        self.layout = _layout(root)
        names = {
            "unified": ("", "", "", ""),
            "hybrid": ("unified", "memory", "pids", _cpuacct(root)),
            "legacy": ("systemd", "memory", "pids", _cpuacct(root)),
        }[self.layout]
        self._systemd, self._memory, self._pids, self._cpu = (
            os.path.join(root, name) for name in names
        )

    def tasks(self, group: str) -> int | None:
        """Tasks (threads) in the group and below."""
        return _number(f"{self._pids}{group}/pids.current")

    def memory(self, group: str) -> int | None:
        """Bytes of memory that the group and those below are charged for."""
        name = "memory.current" if self.layout == "unified" else "memory.usage_in_bytes"
        return _number(f"{self._memory}{group}/{name}")

    def memory_figure(self, group: str, what: str) -> int | None:
        """Bytes in `memory.WHAT`, such as "peak" or "swap.current"; of cgroup v2 alone."""
        unified = self.layout == "unified"
        return _number(f"{self._memory}{group}/memory.{what}") if unified else None

    def cpu_nsec(self, group: str) -> int | None:
        """Processor time used since the group was made, in nanoseconds. systemd makes it again with
        each start.
        """
        if self.layout != "unified":
            return _number(f"{self._cpu}{group}/cpuacct.usage")
        for line in (_read(f"{self._cpu}{group}/cpu.stat") or b"").splitlines():
            key, _, value = line.partition(b" ")
            if key == b"usage_usec":
                return int(value) * 1000
        return None

    def members(self, group: str, limit: int) -> Iterator[tuple[str, int]]:
        """(group, PID) of the processes in the group and those below, at most `limit`."""
        for path, pids in self._walk(group, 0):
            for pid in pids[:limit]:
                yield path, pid
            limit -= min(len(pids), limit)
            if limit <= 0:
                return

    def _walk(self, group: str, depth: int) -> Iterator[tuple[str, list[int]]]:
        directory = f"{self._systemd}{group}"
        pids = [int(line) for line in (_read(f"{directory}/cgroup.procs") or b"").split()]
        yield group, [pid for pid in pids if pid > 0]  # 0: in a PID namespace that we do not see
        if depth >= _MAX_DEPTH:
            return
        try:
            with os.scandir(directory) as entries:
                below = sorted(e.name for e in entries if e.is_dir(follow_symlinks=False))
        except OSError:  # gone meanwhile
            return
        for name in below:
            yield from self._walk(f"{group}/{name}", depth + 1)


def _layout(root: Path) -> str:
    if _is_cgroup2(root):
        return "unified"
    return "hybrid" if _is_cgroup2(root / "unified") else "legacy"


def _is_cgroup2(path: Path) -> bool:
    try:
        fd = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return filesystem_type(fd) == CGROUP2_MAGIC
    finally:
        os.close(fd)


def _cpuacct(root: Path) -> str:
    """Where cpu and cpuacct are mounted together the link `cpuacct` may be missing (a container's
    bind).
    """
    return next((n for n in ("cpuacct", "cpu,cpuacct") if (root / n).is_dir()), "cpuacct")


def _read(path: str) -> bytes | None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        return b"".join(iter(lambda: os.read(fd, _MAX_BYTES), b""))
    except OSError:  # ENODEV: the group was removed between open and read
        return None
    finally:
        os.close(fd)


def _number(path: str) -> int | None:
    text = _read(path)
    try:
        return int(text) if text else None
    except ValueError:  # "max"
        return None
