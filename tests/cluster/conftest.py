"""A real control plane, alone or with two hosts, and a namespace of its own for each test."""

from __future__ import annotations

import os
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager

import pytest

from tests import daemons, pool
from tests.cluster.world import Cluster
from tests.lab.hosts import Host
from tests.lab.state import LabState

_FAILED = pytest.StashKey[bool]()


@contextmanager
def _leased(name: str, *, hosts: int) -> Iterator[Cluster]:
    if hosts and (there := os.environ.get("TAMBOURINE_LAB")):  # one that is up, by its name
        yield Cluster(LabState(there), [Host(host) for host in LabState(there).hosts()])
        return
    with pool.lease(name, hosts=hosts, kubernetes=True) as lease:
        made = Cluster(lease.state, lease.hosts)
        if lease.is_new and hosts:
            made.allow_namespaces("*")
            lease.remember()
        yield made


@contextmanager
def _own(*, hosts: int) -> Iterator[Cluster]:
    with pool.own("doomed", hosts=hosts, kubernetes=True) as lease:
        yield Cluster(lease.state, lease.hosts)


@pytest.fixture(scope="module")
def shared_control_plane() -> Iterator[Cluster]:
    """The one of `control_plane`, for fixtures that are wider than a test."""
    with _leased("plane", hosts=0) as made:
        yield made


@pytest.fixture(scope="module")
def shared_cluster() -> Iterator[Cluster]:
    """The one of `cluster`, for fixtures that are wider than a test."""
    with _leased("cluster", hosts=2) as made:
        yield made


@pytest.fixture(scope="module")
def doomed_cluster() -> Iterator[Cluster]:
    """Two hosts that have joined, for a module that breaks things.

    They allow `default`. Deletions wait for 5 s alone.
    """
    with _own(hosts=2) as made:
        made.controller_options("--deletion-deadline=5")
        yield made


@pytest.fixture(scope="module")
def doomed_control_plane() -> Iterator[Cluster]:
    """An API server with our resources and policies, for a module that takes them away."""
    with _own(hosts=0) as made:
        yield made


@pytest.fixture
def control_plane(
    shared_control_plane: Cluster, request: pytest.FixtureRequest
) -> Iterator[Cluster]:
    """An API server with Tambourine's resources and policies; no host, no controller. Shared."""
    yield from _for_a_test(shared_control_plane, request.node)


@pytest.fixture
def cluster(shared_cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """Control plane, controller and two hosts, h1 and h2, that have joined. Shared: leave it as you found it."""
    since = time.time()
    yield from _for_a_test(shared_cluster, request.node)
    for host in shared_cluster.hosts:
        daemons.check_journal(host, since)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.when == "call":
        item.stash[_FAILED] = report.failed
    return report


def _for_a_test(shared: Cluster, test: pytest.Item) -> Iterator[Cluster]:
    made = Cluster(shared.state, shared.hosts)
    yield made
    if test.stash.get(_FAILED, False):
        print(made.picture())
    made.start_api()
    made.remove_namespaces()
