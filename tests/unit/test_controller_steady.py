"""Ready for a moment is not Ready: by our own clock, for each generation and each run anew."""

from __future__ import annotations

import pytest

from tambourinefs.controller.steady import READY_FOR, Steady
from tests.unit.cluster_world import Clock, report, service

ONE, TWO = service(), service(generation=2)
OTHER = service("net")
LATER = 2 * READY_FOR


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def steady(clock: Clock) -> Steady:
    return Steady(clock)


def test_what_is_ready_is_young_until_it_was_so_for_a_while(clock: Clock, steady: Steady) -> None:
    said = [report(ONE, "a"), report(OTHER, "b", "Unknown", "Starting")]
    assert steady.young(said) == {(ONE.uid, "a"): READY_FOR}
    clock.now += READY_FOR / 2
    said[1] = report(OTHER, "b")
    assert steady.young(said).keys() == {(ONE.uid, "a"), (OTHER.uid, "b")}
    clock.now += READY_FOR / 2
    assert steady.young(said).keys() == {(OTHER.uid, "b")}
    clock.now += READY_FOR
    assert steady.young(said) == {}


@pytest.mark.parametrize(
    "again", [report(TWO, "a"), report(ONE, "a", n_restarts=1)], ids=["generation", "Restart="]
)
def test_another_run_begins_anew(clock: Clock, steady: Steady, again: object) -> None:
    assert steady.young([report(ONE, "a")])
    clock.now += LATER
    assert not steady.young([report(ONE, "a")])
    assert steady.young([again]) == {(ONE.uid, "a"): clock.now + READY_FOR}  # type: ignore[list-item]


def test_after_a_failure_it_begins_anew(clock: Clock, steady: Steady) -> None:
    assert steady.young([report(ONE, "a")])
    clock.now += LATER
    assert not steady.young([report(ONE, "a", "False", "Failed")])
    assert steady.young([report(ONE, "a")])


def test_what_was_seen_before_we_were_away_does_not_count(clock: Clock, steady: Steady) -> None:
    assert steady.young([report(ONE, "a")])
    clock.now += LATER
    steady.forget()
    assert steady.young([report(ONE, "a")])


def test_what_is_gone_is_forgotten(steady: Steady) -> None:
    assert steady.young([report(ONE, "a")])
    assert not steady.young([])
    assert steady._since == {}
