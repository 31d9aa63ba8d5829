"""Where a lab lives: one directory for each (checkout, name), so that parallel labs never meet."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.lab.tools import LabError

CHECKOUT: Final = Path(__file__).resolve().parent.parent.parent
# Not /run: the disks of the hosts would then lie in memory.
BASE: Final = Path("/var/tmp/tambourine-lab")


@dataclass(frozen=True)
class Process:
    """A process, identified by pid and start time: a pid alone may have been reused."""

    pid: int
    started: int  # field 22 of /proc/PID/stat (proc(5)): clock ticks since boot

    @classmethod
    def of(cls, pid: int) -> Process:
        """The process that has this pid now; ProcessLookupError when there is none."""
        return cls(pid, _started(pid))

    def alive(self) -> bool:
        """Whether any thread of it is there still: until the last one has ended, so are its sockets and files."""
        try:
            return _started(self.pid) == self.started
        except ProcessLookupError:
            return False


def _started(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
        threads = os.listdir(f"/proc/{pid}/task")
    except (FileNotFoundError, ProcessLookupError) as error:
        raise ProcessLookupError(pid) from error
    fields = text.rpartition(")")[2].split()
    if fields[0] in "ZX" and len(threads) <= 1:
        raise ProcessLookupError(pid)
    return int(fields[19])


@dataclass(frozen=True)
class LabState:
    """The directory of one lab and the names derived from it."""

    name: str

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,20}", self.name):
            raise LabError(f"lab name {self.name!r}: letters a-z, digits and '-', at most 21")

    @property
    def ident(self) -> str:
        """Unique on this machine: names of cgroups and machines begin with it."""
        key = hashlib.sha256(os.fsencode(CHECKOUT)).hexdigest()[:8]
        return f"tl-{key}-{self.name}"

    @property
    def directory(self) -> Path:
        return BASE / self.ident

    @contextmanager
    def lock(self) -> Iterator[None]:
        """One `up`, `down`, `start` or `crash` of a lab at a time. Beside the directory, which `down` removes."""
        BASE.mkdir(mode=0o700, parents=True, exist_ok=True)
        while True:
            with self._lock_file.open("w") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                if self._is_lock(file.fileno()):
                    yield
                    return

    @property
    def _lock_file(self) -> Path:
        return BASE / f"{self.ident}.lock"

    def _is_lock(self, fd: int) -> bool:
        """Whether the file that was waited for is still the lock: a `down` before us may have removed it."""
        try:
            return os.path.samestat(os.fstat(fd), self._lock_file.stat())
        except FileNotFoundError:
            return False

    def forget(self) -> None:
        """Remove the lock, by the one who holds it, when nothing of the lab is left."""
        self._lock_file.unlink(missing_ok=True)

    def hosts(self) -> list[HostState]:
        """The hosts that `up` made, also half made ones, by number."""
        found = [HostState(self, path.parent.name) for path in self.directory.glob("h*/host.json")]
        return sorted(found, key=lambda host: int(host.name[1:]))

    def host(self, name: str) -> HostState:
        for host in self.hosts():
            if host.name == name:
                return host
        known = " ".join(host.name for host in self.hosts()) or "none; run `lab up`"
        raise LabError(f"no host {name!r} in this lab (hosts: {known})")


@dataclass(frozen=True)
class HostState:
    """The directory of one host: its disk, its root, what runs."""

    lab: LabState
    name: str

    @property
    def directory(self) -> Path:
        return self.lab.directory / self.name

    @property
    def machine(self) -> str:
        return f"{self.lab.ident}-{self.name}"

    @property
    def image(self) -> Path:
        return self.directory / "disk.img"

    @property
    def disk(self) -> Path:
        return self.directory / "disk"

    @property
    def overlay(self) -> Path:
        """`upper` and `work`: what the host wrote outside of /etc and /var."""
        return self.directory / "overlay"

    @property
    def scratch(self) -> Path:
        """The image that `overlay` is mounted from."""
        return self.directory / "overlay.img"

    @property
    def root(self) -> Path:
        return self.directory / "root"

    @property
    def console(self) -> Path:
        return self.directory / "console.log"

    def read(self) -> dict[str, int]:
        """What runs now: `pid` and `started` of nspawn and of the host's PID 1 (`leader…`); empty when it is off."""
        try:
            return dict(json.loads((self.directory / "host.json").read_text()))
        except FileNotFoundError:
            return {}

    def write(self, **values: int) -> None:
        path = self.directory / "host.json.new"
        path.write_text(json.dumps(values))
        path.replace(self.directory / "host.json")

    def leader(self) -> Process:
        """The host's PID 1, seen from here; LabError when the host is off."""
        values = self.read()
        if "leader" in values:
            leader = Process(values["leader"], values["leader_started"])
            if leader.alive():
                return leader
        raise LabError(f"host {self.name} is off; `lab start {self.name}` boots it")
