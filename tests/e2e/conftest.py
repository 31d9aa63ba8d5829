"""Lab hosts as fixtures: shared ones from the pool of the run, and hosts of a module or a test."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests import daemons, pool
from tests.lab.hosts import Host


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    """A host with Tambourine installed and running, from the pool: leave it as you found it."""
    with pool.lease("host") as lease:
        yield lease.hosts[0]


@pytest.fixture(scope="module")
def bare_host() -> Iterator[Host]:
    """A host without Tambourine, from the pool: leave it as you found it."""
    with pool.lease("bare", kind="bare") as lease:
        yield lease.hosts[0]


@pytest.fixture(scope="module")
def own_lab() -> Iterator[pool.Replaceable]:
    with pool.Replaceable("own") as made:
        yield made


@pytest.fixture
def own_host(own_lab: pool.Replaceable) -> Host:
    """A host with Tambourine for the tests of one file; another one after a test that failed."""
    return own_lab.host


@pytest.fixture(scope="module")
def own_bare_host() -> Iterator[Host]:
    """A host without Tambourine for the tests of one file."""
    with pool.own("own", kind="bare") as lease:
        yield lease.hosts[0]


@pytest.fixture
def fresh_host() -> Iterator[Host]:
    """A host with Tambourine for this test alone."""
    with pool.own("fresh") as lease:
        yield lease.hosts[0]


@pytest.fixture
def fresh_bare_host() -> Iterator[Host]:
    """A host without Tambourine for this test alone."""
    with pool.own("fresh", kind="bare") as lease:
        yield lease.hosts[0]


@pytest.fixture(scope="module")
def two_hosts() -> Iterator[list[Host]]:
    """Two hosts with Tambourine, from the pool."""
    with pool.lease("two", hosts=2) as lease:
        yield lease.hosts


@pytest.fixture(autouse=True)
def _no_daemon_logs_a_traceback(request: pytest.FixtureRequest) -> Iterator[None]:
    used: list[Host] = []
    for name in {"host", "own_host", "fresh_host", "two_hosts"} & set(request.fixturenames):
        value = request.getfixturevalue(name)
        used += value if isinstance(value, list) else [value]
    since = time.time()
    yield
    for host in used:
        daemons.check_journal(host, since)
