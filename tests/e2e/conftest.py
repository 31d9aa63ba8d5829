"""Lab hosts as fixtures.

They end with the test run: by finalizer, and by the lab's watcher when the run itself is killed.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from lab import lab
from lab.hosts import Host
from lab.state import LabState

_NUMBER = itertools.count(1)


@contextmanager
def _lab(name: str, *, hosts: int = 1, kind: lab.Kind = "installed") -> Iterator[list[Host]]:
    state = LabState(f"{name}-{os.getpid()}-{next(_NUMBER)}")
    try:
        yield [Host(host) for host in lab.up(state, hosts=hosts, kind=kind, owner=os.getpid())]
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
