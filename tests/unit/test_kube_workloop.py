"""The work loop by a fake clock: when a step runs, after changes, times and failures."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tambourinefs.errors import NotFound, TambourineError, Unreachable
from tambourinefs.kube import workloop
from tambourinefs.kube.workloop import Backoff, isolated, raise_first
from tests.announced import Announced


class _Clock:
    """Time passes only in waits. `at` maps a time to what happens then."""

    def __init__(self) -> None:
        self.now = 0.0
        self.events: dict[float, Callable[[], None]] = {}

    def pass_until(self, end: float, is_over: Callable[[], bool]) -> None:
        """Up to `end`, or to the event after which `is_over`."""
        while not is_over():
            due = min((at for at in self.events if at <= end), default=None)
            if due is None:
                self.now = end
                return
            self.now = max(self.now, due)
            self.events.pop(due)()


class _Flag:
    def __init__(self, clock: _Clock) -> None:
        self._clock = clock
        self._is_set = False

    def set(self) -> None:
        self._is_set = True

    def is_set(self) -> bool:
        return self._is_set

    def clear(self) -> None:
        self._is_set = False

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None, "it waits without a bound"
        self._clock.pass_until(self._clock.now + timeout, self.is_set)
        return self._is_set


class _Loop:
    """Runs a step that records (time, notified) and takes its results from `results`, then stops."""

    def __init__(self, *results: float | TambourineError, gather: float = 0.0) -> None:
        self.clock = _Clock()
        self.stop, self.changed = _Flag(self.clock), _Flag(self.clock)
        self._results = list(results)
        self._gather = gather
        self.steps: list[tuple[float, bool]] = []

    def at(self, when: float, what: Callable[[], None]) -> None:
        self.clock.events[when] = what

    def end(self) -> None:
        self.stop.set()
        self.changed.set()

    def run(self) -> list[tuple[float, bool]]:
        workloop.run(
            self._step, self.stop, retry=_Exact(1.0, 4.0), changed=self.changed, gather=self._gather
        )
        return self.steps

    def _step(self, notified: bool) -> float:
        self.steps.append((self.clock.now, notified))
        result = self._results.pop(0)
        if not self._results:
            self.stop.set()
        if isinstance(result, TambourineError):
            raise result
        return result


class _Exact(Backoff):
    """Without jitter."""

    def next(self) -> float:
        wait, self._next = self._next, min(self._next * 2, self._limit)
        return wait


def test_it_runs_at_once_and_then_after_the_seconds_that_the_step_returned() -> None:
    assert _Loop(5, 2, 0).run() == [(0, False), (5, False), (7, False)]


def test_a_change_wakes_it() -> None:
    loop = _Loop(30, 0)
    loop.at(3, loop.changed.set)
    assert loop.run() == [(0, False), (3, True)]


def test_changes_are_gathered_into_one_step() -> None:
    loop = _Loop(30, 30, 0, gather=0.5)
    for when in (3.0, 3.1, 3.4):
        loop.at(when, loop.changed.set)
    assert loop.run() == [(0.5, False), (3.5, True), (34.0, False)]


def test_after_a_failure_changes_do_not_shorten_the_backoff(announce: Announced) -> None:
    announce("does not answer")
    error = Unreachable("the API server does not answer")
    loop = _Loop(error, error, 9, error, 0)
    loop.at(0.5, loop.changed.set)
    assert [at for at, _ in loop.run()] == [0, 1, 3, 12, 13], "1, 2, reset, 1"


def test_stop_ends_a_wait_and_a_backoff(announce: Announced) -> None:
    announce("does not answer")
    for result in (30.0, Unreachable("the API server does not answer")):
        loop = _Loop(result, 0)
        loop.at(0.5, loop.end)
        assert loop.run() == [(0, False)]


def test_without_changes_it_waits_for_stop() -> None:
    clock = _Clock()
    stop, steps = _Flag(clock), list[float]()
    clock.events[25] = stop.set

    def step(_: bool) -> float:
        steps.append(clock.now)
        return 10

    workloop.run(step, stop, retry=Backoff())
    assert steps == [0, 10, 20]


def test_an_error_of_the_program_is_not_retried() -> None:
    def step(_: bool) -> float:
        raise AssertionError("broken")

    clock = _Clock()
    with pytest.raises(AssertionError):
        workloop.run(step, _Flag(clock), retry=Backoff())


def test_an_isolated_failure_is_recorded_and_the_first_one_raised(announce: Announced) -> None:
    announce("gone")
    problems: dict[str, str] = {}

    def read(name: str) -> None:
        if name == "a":
            raise NotFound("a is gone")

    for name in ("a", "b"):
        with isolated(name, problems):
            read(name)
    assert problems == {"a": "a is gone"}
    with pytest.raises(TambourineError, match="a is gone"):
        raise_first(problems)
    raise_first({})


def test_unreachable_is_not_isolated() -> None:
    with pytest.raises(Unreachable), isolated("a", {}):
        raise Unreachable("the API server does not answer")


def test_a_backoff_doubles_up_to_its_limit_with_jitter() -> None:
    backoff = Backoff(1.0, 5.0)
    for whole in (1, 2, 4, 5, 5):
        assert whole / 2 <= backoff.next() <= whole
    backoff.reset()
    assert backoff.next() <= 1
