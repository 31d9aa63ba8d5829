"""Lab hosts as fixtures.

They end with the test run: by finalizer, and by the lab's watcher when the run itself is killed.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.lab import cgroups, lab
from tests.lab.hosts import Host
from tests.lab.state import LabState

_NUMBER = itertools.count(1)
AHEAD = "TAMBOURINE_AHEAD"  # set: our hosts go before all that runs beside us (tests/lanes)


@contextmanager
def _lab(name: str, *, hosts: int = 1, kind: lab.Kind = "installed") -> Iterator[list[Host]]:
    state = LabState(f"{name}-{os.getpid()}-{next(_NUMBER)}")
    try:
        made = lab.up(state, hosts=hosts, kind=kind, owner=os.getpid())
        for each in made:
            cgroups.weigh(each.machine, heavy=AHEAD in os.environ)
        yield [Host(host) for host in made]
    finally:
        lab.down(state)


@pytest.fixture(scope="session")
def host() -> Iterator[Host]:
    """A host with Tambourine installed and running, shared by the whole run: leave it as you found it."""
    with _lab("host") as (made,):
        yield made


@pytest.fixture(scope="session")
def bare_host() -> Iterator[Host]:
    """A host without Tambourine, shared by the whole run."""
    with _lab("bare", kind="bare") as (made,):
        yield made


@pytest.fixture(scope="module")
def own_host() -> Iterator[Host]:
    """A host with Tambourine for the tests of one file."""
    with _lab("own") as (made,):
        yield made


@pytest.fixture(scope="module")
def own_bare_host() -> Iterator[Host]:
    """A host without Tambourine for the tests of one file."""
    with _lab("own", kind="bare") as (made,):
        yield made


@pytest.fixture
def fresh_host() -> Iterator[Host]:
    """A host with Tambourine for this test alone."""
    with _lab("fresh") as (made,):
        yield made


@pytest.fixture
def fresh_bare_host() -> Iterator[Host]:
    """A host without Tambourine for this test alone."""
    with _lab("fresh", kind="bare") as (made,):
        yield made


@pytest.fixture(scope="session")
def two_hosts() -> Iterator[list[Host]]:
    """Two hosts with Tambourine, shared by the whole run."""
    with _lab("two", hosts=2) as made:
        yield made


DAEMONS = ("tambourine-silo.service", "tambourine.service", "tambourine-bombshell.service")


@pytest.fixture(autouse=True)
def _no_daemon_of_ours_fell_over(request: pytest.FixtureRequest) -> Iterator[None]:
    """What our daemons wrote into a host's journal during the test holds no traceback."""
    used: list[Host] = []
    for name in {"host", "own_host", "fresh_host", "two_hosts"} & set(request.fixturenames):
        value = request.getfixturevalue(name)
        used += value if isinstance(value, list) else [value]
    since = time.time()
    yield
    for host in used:
        match = [f"_SYSTEMD_UNIT={unit}" for unit in DAEMONS]
        argv = ["journalctl", "--no-pager", "--output=cat", f"--since=@{since:.3f}", *match]
        said = host.run(*argv, check=False).stdout
        if "Traceback (most recent call last)" in said:
            pytest.fail(
                f"a traceback in the journal of {host.name}:\n{said[-6000:]}", pytrace=False
            )
