"""What holds for every test: it leaves no process, no mount, no thread and no descriptor behind, and what it logs as a
warning it has announced.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator

import pytest

from tests import pool
from tests.announced import Announced, collected
from tests.leftovers import MARK, Left

GRACE = 3.0  # seconds for what is ending


def pytest_configure(config: pytest.Config) -> None:
    os.environ[MARK] = str(os.getpid())
    if not hasattr(config, "workerinput"):  # what xdist's workers alone have
        pool.begin()


def pytest_unconfigure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        pool.end()


def pytest_report_header() -> str:
    return f"seed: {_seed()}"


def _seed() -> int:
    return int(os.environ.get("TAMBOURINE_SEED") or 1)


@pytest.fixture
def seed() -> int:
    """For what a test draws at random: 1, or TAMBOURINE_SEED, another one in each `make soak`."""
    return _seed()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.failed:
        pool.note_failure()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    pool.replace_unusable()


@pytest.fixture
def of_wider_fixtures() -> Callable[[], set[int]]:
    """Processes that come and go within a test and belong to a fixture of the whole run; a lane may have some."""
    return set


@pytest.fixture(autouse=True)
def _leaves_nothing(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    of_wider_fixtures: Callable[[], set[int]],
) -> Iterator[None]:
    """Set up before and torn down after a test's own fixtures; what wider fixtures made is there before it."""
    everywhere = "unit" not in request.path.parts
    below = tmp_path_factory.getbasetemp()
    before = Left.now(below, everywhere=everywhere)
    yield
    deadline = time.monotonic() + GRACE
    while left := Left.now(below, everywhere=everywhere).beyond(before, of_wider_fixtures()):
        if time.monotonic() > deadline:
            pytest.fail("the test left behind:\n" + "\n".join(left), pytrace=False)
        time.sleep(0.02)


@pytest.fixture(autouse=True)
def announce() -> Iterator[Announced]:
    """`announce("pattern")`: a test that expects a warning says so; any other fails it."""
    announced = Announced()
    with collected() as seen:
        yield announced
    unexpected = [line for line in seen if not any(p.search(line) for p in announced.patterns)]
    if unexpected:
        pytest.fail("logged and not announced:\n" + "\n".join(unexpected), pytrace=False)
