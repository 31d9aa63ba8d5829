"""The loop that every worker runs: wait for a change or a time, gather, run one step, back off after a failure.

A worker is level-triggered: its step reads everything and compares, so a change only has to wake it.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol, TypeVar

from tambourinefs.errors import TambourineError, Unreachable

log = logging.getLogger(__name__)
Step = Callable[[bool], float]
K = TypeVar("K")


class Flag(Protocol):
    """The part of threading.Event that the loop uses."""

    def is_set(self) -> bool: ...
    def clear(self) -> None: ...
    def wait(self, timeout: float | None = None) -> bool: ...


class Backoff:
    """Seconds to wait before a retry: `first`, doubled up to `limit`, each with jitter between half and all of it."""

    def __init__(self, first: float = 0.5, limit: float = 30.0) -> None:
        self._first = first
        self._limit = limit
        self._next = first

    def next(self) -> float:
        """How long to wait now."""
        wait, self._next = self._next, min(self._next * 2, self._limit)
        return wait * random.uniform(0.5, 1.0)  # noqa: S311 (jitter, no secret)

    def reset(self) -> None:
        """Start again at `first`, after a success."""
        self._next = self._first


def run(
    step: Step, stop: Flag, *, retry: Backoff, changed: Flag | None = None, gather: float = 0.0
) -> None:
    """Run `step` at once, then after each change and after the seconds that it returned, until `stop`.

    `step` is told whether a change woke it. Where it raises TambourineError, it runs again after `retry`, and changes
    do not shorten that wait. `gather`: seconds between a change and the step, so that a burst costs one step. To end
    the loop, set `stop`, then `changed`.
    """
    seconds = 0.0
    while not stop.is_set():
        notified = (changed or stop).wait(seconds)
        if stop.wait(gather):
            return
        if changed is not None:
            changed.clear()  # before the step reads: a later change wakes it again
        try:
            seconds = step(notified)
        except TambourineError as error:
            if stop.is_set():
                return
            log.warning("%s", error)
            seconds = 0.0
            stop.wait(retry.next())
        else:
            retry.reset()


@contextmanager
def isolated(about: K, problems: dict[K, str]) -> Iterator[None]:
    """Record a failure that concerns one object alone in `problems`, so that the others go on.

    Unreachable concerns all objects: it is raised.
    """
    try:
        yield
    except Unreachable:
        raise
    except TambourineError as error:
        log.warning("%s", error)
        problems[about] = str(error)


def raise_first(problems: dict[K, str]) -> None:
    """Raise TambourineError with the first problem, so that the loop runs the step again."""
    for message in problems.values():
        raise TambourineError(message)
