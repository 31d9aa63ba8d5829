"""A real control plane, alone or with two hosts: each made once in a run, with a namespace of its own for each test."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager

import pytest

from tests.cluster.world import DAEMONS, Cluster
from tests.lab import lab
from tests.lab.hosts import Host
from tests.lab.state import LabState

_NUMBER = itertools.count(1)
_FAILED = pytest.StashKey[bool]()


@contextmanager
def _lab(name: str, *, hosts: int) -> Iterator[Cluster]:
    if hosts and (there := os.environ.get("TAMBOURINE_LAB")):  # one that is up, by its name
        yield Cluster(LabState(there), [Host(host) for host in LabState(there).hosts()])
        return
    state = LabState(f"{name}-{os.getpid()}-{next(_NUMBER)}")
    try:
        made = lab.up(state, hosts=hosts, owner=os.getpid(), kubernetes=True)
        yield Cluster(state, [Host(host) for host in made])
    finally:
        lab.down(state)


@pytest.fixture(scope="session")
def shared_control_plane() -> Iterator[Cluster]:
    """The one of `control_plane`, for fixtures that are wider than a test."""
    with _lab("plane", hosts=0) as made:
        yield made


@pytest.fixture(scope="session")
def shared_cluster() -> Iterator[Cluster]:
    """The one of `cluster`, for fixtures that are wider than a test."""
    with _lab("cluster", hosts=2) as made:
        made.allow_namespaces("*")
        yield made


@pytest.fixture(scope="module")
def doomed_cluster() -> Iterator[Cluster]:
    """Two hosts that have joined and allow `default`, for a module that breaks things; deletions wait for 5 s alone."""
    with _lab("doomed", hosts=2) as made:
        made.controller_options("--deletion-deadline=5")
        yield made


@pytest.fixture(scope="module")
def doomed_control_plane() -> Iterator[Cluster]:
    """An API server with our resources and policies, for a module that takes them away."""
    with _lab("doomed", hosts=0) as made:
        yield made


@pytest.fixture
def control_plane(
    shared_control_plane: Cluster, request: pytest.FixtureRequest
) -> Iterator[Cluster]:
    """An API server with our resources and policies; no host, no controller of ours. Shared: use names of your own."""
    yield from _for_a_test(shared_control_plane, request.node)


@pytest.fixture
def cluster(shared_cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """Control plane, controller and two hosts, h1 and h2, that have joined. Shared: leave it as you found it."""
    since = time.time()
    yield from _for_a_test(shared_cluster, request.node)
    for host in shared_cluster.hosts:
        _no_daemon_of_ours_fell_over(host, since)


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


def _no_daemon_of_ours_fell_over(host: Host, since: float) -> None:
    match = [f"_SYSTEMD_UNIT={unit}" for unit in DAEMONS]
    argv = ["journalctl", "--no-pager", "--output=cat", f"--since=@{since:.3f}", *match]
    said = host.run(*argv, check=False).stdout
    if "Traceback (most recent call last)" in said:
        pytest.fail(f"a traceback in the journal of {host.name}:\n{said[-6000:]}", pytrace=False)
