"""The one wait loop: read, sleep until something changes, read again.

A notification only shortens the sleep: without one (an older Bombshell, no stream left) the loop
reads by itself, first quickly, then once a second.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from tambourinefs.cli.common.goal import Goal, GoalResult, initial
from tambourinefs.errors import Unreachable

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator, Mapping, Sequence

_T = TypeVar("_T")
FIRST_PAUSE: Final = 0.02  # seconds; doubled at each reading that no notification came before
LAST_PAUSE: Final = 1.0


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a command goes without an answer before it fails."""

    seconds: float
    hint: str
    note: str = ""  # on what was written before, for the end of the message


class Source(Protocol):
    """Where results come from: Bombshell or the API server."""

    changed: threading.Event
    patience: Patience

    def read(self, goals: Sequence[Goal]) -> list[GoalResult]:
        """How far each goal is now. Raises Unreachable."""

    def journals(self, result: GoalResult) -> Mapping[str, Sequence[str]]:
        """What failing nodes logged last, by node; waits a moment for lines that come after the failure."""

    def next_step(self, result: GoalResult) -> str:
        """The command to type after a failure."""


def readings(
    changed: threading.Event,
    read: Callable[[], _T],
    patience: Patience,
    *,
    timeout: float = float("inf"),
    first_pause: float = FIRST_PAUSE,
) -> Iterator[_T]:
    """Yield what `read` returns: at once, after each change and at least once a second, for `timeout` seconds.

    Raises Unreachable once `read` has raised it for `patience.seconds`.
    """
    answered = time.monotonic()
    deadline, pause = answered + timeout, first_pause
    while True:
        changed.clear()  # before the reading: a change during it leads to another one
        try:
            value = read()
        except Unreachable as error:
            _check(error, time.monotonic() - answered, patience)
        else:
            answered = time.monotonic()
            yield value
        left = deadline - time.monotonic()
        if left <= 0:
            return
        notified = changed.wait(min(pause, left))
        pause = first_pause if notified else min(pause * 2, LAST_PAUSE)


def _check(error: Unreachable, away: float, patience: Patience) -> None:
    if away >= patience.seconds:
        raise Unreachable(
            f"no answer for {away:.0f} s: {error.message}{patience.note}",
            hint=error.hint or patience.hint,
        ) from error


def wait(
    source: Source, goals: Sequence[Goal], *, timeout: float
) -> Iterator[Sequence[GoalResult]]:
    """Yield the results of all goals at the start and after each reading, until all are done or `timeout` is over.

    Raises Unreachable.
    """
    results = {goal: GoalResult(goal, initial(goal), {}) for goal in goals}

    def read() -> list[GoalResult]:
        return source.read([goal for goal in goals if not results[goal].status.done])

    yield list(results.values())
    for found in readings(source.changed, read, source.patience, timeout=timeout):
        results |= {result.goal: result for result in found}
        yield list(results.values())
        if all(result.status.done for result in results.values()):
            return
