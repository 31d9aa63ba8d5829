"""The labs that all workers of a test run share.

A module leases a lab. It gets one that no other worker has, and one is made only when all are
leased. A lab is returned clean, and then the next module has it, or it is taken down: after a
failed test, and when the module left the hosts other than it found them.

What a run made goes down with it: the process that began the run takes it down, or each lab's
watcher when that process was killed.
"""

from __future__ import annotations

import fcntl
import itertools
import os
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

from tests.daemons import DAEMONS
from tests.lab import lab
from tests.lab.hosts import Host
from tests.lab.state import LabState

RUN: Final = (
    "TAMBOURINE_TEST_OWNER"  # the pid of the process that began the run; workers inherit it
)
_leased: list[Lease] = []
_replaceable: list[Replaceable] = []


@dataclass
class Lease:
    """A lab that this process has for a while."""

    state: LabState
    hosts: list[Host]
    is_new: bool
    usable: bool = True  # by the next one
    found: list[str] = field(default_factory=list)

    def remember(self) -> None:
        """What its hosts are now is what they are to be when they are returned."""
        self.found = [_fingerprint(host) for host in self.hosts]

    def is_as_found(self) -> bool:
        try:
            return [_fingerprint(host) for host in self.hosts] == self.found
        except Exception:  # a host that is off or hangs
            return False


@contextmanager
def lease(
    name: str, *, hosts: int = 1, kind: lab.Kind = "installed", kubernetes: bool = False
) -> Iterator[Lease]:
    """A lab of the pool. `name`, of at most seven letters, stands for the rest of the arguments."""
    with _slot(name) as state:
        is_new = not state.directory.exists()
        made = lab.up(state, hosts=hosts, kind=kind, owner=owner(), kubernetes=kubernetes)
        found = Lease(state, [Host(host) for host in made], is_new)
        found.remember()
        _leased.append(found)
        try:
            yield found
        except BaseException:
            found.usable = False
            raise
        finally:
            _leased.remove(found)
            if not (found.usable and found.is_as_found()):
                lab.down(state)


@contextmanager
def own(
    name: str, *, hosts: int = 1, kind: lab.Kind = "installed", kubernetes: bool = False
) -> Iterator[Lease]:
    """A lab that is made for this and taken down after it."""
    state = LabState(f"{name}-{os.getpid()}-{next(_NUMBER)}")
    try:
        made = lab.up(state, hosts=hosts, kind=kind, owner=os.getpid(), kubernetes=kubernetes)
        yield Lease(state, [Host(host) for host in made], is_new=True)
    finally:
        lab.down(state)


_NUMBER = itertools.count(1)


class Replaceable:
    """A lab with one host for the tests of a module; another one after a test that failed."""

    def __init__(self, name: str, *, kind: lab.Kind = "installed") -> None:
        self._name = name
        self._kind = kind
        self._stack = ExitStack()
        self._make()

    def _make(self) -> None:
        self._lease = self._stack.enter_context(own(self._name, kind=self._kind))

    @property
    def host(self) -> Host:
        return self._lease.hosts[0]

    def replace(self) -> None:
        """Make another lab if this one is not usable."""
        if not self._lease.usable:
            self._stack.close()
            self._make()

    def note_failure(self) -> None:
        self._lease.usable = False

    def __enter__(self) -> Self:
        _replaceable.append(self)
        return self

    def __exit__(self, *_: object) -> None:
        _replaceable.remove(self)
        self._stack.close()


def replace_unusable() -> None:
    """Called between tests: what a failed test has broken is replaced."""
    for one in _replaceable:
        one.replace()


def note_failure() -> None:
    """What this process has leased goes to no other module, and runs for the next test of this one.
    What can be replaced is replaced before that.
    """
    for each in _replaceable:
        each.note_failure()
    for one in _leased:
        one.usable = False
        for host in one.hosts:
            with suppress(Exception):  # it is off, hangs or has no daemons
                host.run("systemctl", "reset-failed")
                host.run("systemctl", "start", *DAEMONS, check=False)


def owner() -> int:
    """The process that began the run."""
    return int(os.environ[RUN])


def begin() -> None:
    """Called once in a run, before its workers start."""
    os.environ[RUN] = str(os.getpid())


def end() -> None:
    """Take down what the run made; its workers have ended."""
    states = [LabState(file.stem) for file in _directory().glob("*.lock")]
    with ThreadPoolExecutor() as threads:
        list(threads.map(lab.down, states))
    shutil.rmtree(_directory(), ignore_errors=True)


def _directory() -> Path:
    return Path(tempfile.gettempdir(), f"tambourine-tests-{owner()}")


@contextmanager
def _slot(name: str) -> Iterator[LabState]:
    """The first that no process has."""
    _directory().mkdir(exist_ok=True)
    for number in itertools.count(1):
        state = LabState(f"{name}-{owner()}-{number}")
        with (_directory() / f"{state.name}.lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            yield state
            return


def _fingerprint(host: Host) -> str:
    """What a module must leave as it was: /etc, what is in the silo, failed units, the daemons."""
    script = (
        "find /etc -printf '%p %y %m %u %g %l\\n' | sort; "
        "find /etc -type f -print0 | sort -z | xargs -0 sha256sum; "
        "ls -A /var/lib/tambourine/silo/local 2>&1; "
        "systemctl --failed --no-legend --plain; "
        f"systemctl is-active {' '.join(DAEMONS)}"
    )
    return host.run("sh", "-c", script, check=False).stdout
