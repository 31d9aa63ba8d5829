"""Ready for a moment is not Ready: by our own clock, for each generation anew."""

from __future__ import annotations

from tambourinefs.controller.steady import READY_FOR, Steady
from tests.unit.cluster_world import report, service

ONE, TWO = service(), service(generation=2)


class _Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_what_is_ready_is_young_until_it_was_so_for_a_while() -> None:
    clock = _Clock()
    steady = Steady(clock)
    said = [report(ONE, "a"), report(ONE, "b", "Unknown", "Starting")]
    assert steady.young(said) == {(ONE.uid, "a")}
    clock.now += READY_FOR / 2
    said[1] = report(ONE, "b")
    assert steady.young(said) == {(ONE.uid, "a"), (ONE.uid, "b")}
    clock.now += READY_FOR / 2
    assert steady.young(said) == {(ONE.uid, "b")}
    clock.now += READY_FOR
    assert steady.young(said) == frozenset()


def test_it_begins_again_with_a_new_generation_and_after_a_failure() -> None:
    clock = _Clock()
    steady = Steady(clock)
    assert steady.young([report(ONE, "a")])
    clock.now += 2 * READY_FOR
    assert not steady.young([report(ONE, "a")])
    assert steady.young([report(TWO, "a")]) == {(TWO.uid, "a")}
    clock.now += 2 * READY_FOR
    assert not steady.young([report(TWO, "a", "False", "Failed")])
    assert steady.young([report(TWO, "a")]) == {(TWO.uid, "a")}


def test_what_is_gone_is_forgotten() -> None:
    steady = Steady(_Clock())
    assert steady.young([report(ONE, "a")])
    assert not steady.young([])
    assert steady._since == {}
