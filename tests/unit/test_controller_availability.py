"""Available means Ready for MIN_READY_SECONDS, counted again for each generation and each run."""

from __future__ import annotations

import pytest

from tambourinefs.controller.availability import MIN_READY_SECONDS, AvailabilityTracker
from tests.unit.cluster_world import Clock, report, service

ONE, TWO = service(), service(generation=2)
OTHER = service("net")
LATER = 2 * MIN_READY_SECONDS


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tracker(clock: Clock) -> AvailabilityTracker:
    return AvailabilityTracker(clock)


def test_a_ready_service_is_available_after_min_ready_seconds(
    clock: Clock, tracker: AvailabilityTracker
) -> None:
    said = [report(ONE, "a"), report(OTHER, "b", "Unknown", "Starting")]
    assert tracker.available_at(said) == {(ONE.uid, "a"): MIN_READY_SECONDS}
    clock.now += MIN_READY_SECONDS / 2
    said[1] = report(OTHER, "b")
    assert tracker.available_at(said).keys() == {(ONE.uid, "a"), (OTHER.uid, "b")}
    clock.now += MIN_READY_SECONDS / 2
    assert tracker.available_at(said).keys() == {(OTHER.uid, "b")}
    clock.now += MIN_READY_SECONDS
    assert tracker.available_at(said) == {}


@pytest.mark.parametrize(
    "again", [report(TWO, "a"), report(ONE, "a", n_restarts=1)], ids=["generation", "Restart="]
)
def test_another_run_counts_from_the_start(
    clock: Clock, tracker: AvailabilityTracker, again: object
) -> None:
    assert tracker.available_at([report(ONE, "a")])
    clock.now += LATER
    assert not tracker.available_at([report(ONE, "a")])
    assert tracker.available_at([again]) == {(ONE.uid, "a"): clock.now + MIN_READY_SECONDS}  # type: ignore[list-item]


def test_a_failure_counts_from_the_start(clock: Clock, tracker: AvailabilityTracker) -> None:
    assert tracker.available_at([report(ONE, "a")])
    clock.now += LATER
    assert not tracker.available_at([report(ONE, "a", "False", "Failed")])
    assert tracker.available_at([report(ONE, "a")])


def test_reset_counts_from_the_start(clock: Clock, tracker: AvailabilityTracker) -> None:
    assert tracker.available_at([report(ONE, "a")])
    clock.now += LATER
    tracker.reset()
    assert tracker.available_at([report(ONE, "a")])


def test_deleted_instances_are_forgotten(tracker: AvailabilityTracker) -> None:
    assert tracker.available_at([report(ONE, "a")])
    assert not tracker.available_at([])
    assert tracker._since == {}
