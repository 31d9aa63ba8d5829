"""Waiting until services are as asked: look, decide with `verdict`, sleep until a bell rings, look again.

The bell is Bombshell's Watch on the agent's list of services. It only shortens the sleep: without it (an older
Bombshell, no stream left) the loop looks again by itself, first quickly, then once a second.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Final, NamedTuple, Self

from tambourinefs.cli.common.verdict import UNSEEN, Goal, Verdict, verdict
from tambourinefs.cli.host.connection import AGENT_AWAY, PROC, read_report, read_reports
from tambourinefs.errors import TambourineError, Unreachable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from tambourinefs.model.status import StatusReport
    from tambourinefs.rpc.client import Client

_FIRST_PAUSE: Final = 0.02  # seconds; doubled at each look that shows nothing new
_LAST_PAUSE: Final = 1.0
AWAY_SECONDS: Final = 15.0  # longer than any one of the daemons needs to come back
_ONE_BY_ONE: Final = 8  # up to so many services are read singly, more in one list
_END_SECONDS: Final = 2.0  # a call that is cancelled ends within milliseconds
BELL_FILE: Final = "services.json"


class Result(NamedTuple):
    """How the wait for one goal ended; `report` is the last one seen."""

    goal: Goal
    verdict: Verdict
    report: StatusReport | None


def wait(
    client: Client, goals: Sequence[Goal], *, timeout: float, tell: Callable[[Goal, Verdict], None]
) -> list[Result]:
    """Wait until every goal is settled, at most `timeout` seconds; `tell` hears of every new verdict.

    What is not settled at the end is in the result with its last (pending) verdict.

    Raises Unreachable once nobody has answered for AWAY_SECONDS.
    """
    with Bell(client) as bell:
        return _wait(client, goals, time.monotonic() + timeout, tell, bell)


def _wait(
    client: Client,
    goals: Sequence[Goal],
    deadline: float,
    tell: Callable[[Goal, Verdict], None],
    bell: Bell,
) -> list[Result]:
    results = {goal: Result(goal, UNSEEN, None) for goal in goals}
    pause, answered = _FIRST_PAUSE, time.monotonic()
    while True:
        bell.clear()  # before the look: what rings during it is looked at again
        open_goals = [goal for goal in goals if not results[goal].verdict.settled]
        news = False
        try:
            for found in _look(client, open_goals):
                news |= found.verdict != results[found.goal].verdict
                if found.verdict != results[found.goal].verdict:
                    tell(found.goal, found.verdict)
                results[found.goal] = found
            answered = time.monotonic()
        except Unreachable as error:
            check_patience(error, answered)
        now = time.monotonic()
        if now >= deadline or all(result.verdict.settled for result in results.values()):
            return [results[goal] for goal in goals]
        pause = _FIRST_PAUSE if news else min(pause * 2, _LAST_PAUSE)
        if bell.wait(min(pause, deadline - now)):
            pause = _FIRST_PAUSE


def _look(client: Client, goals: Sequence[Goal]) -> Iterator[Result]:
    for goal, report in zip(goals, _reports(client, goals), strict=True):
        yield Result(goal, verdict(goal, report), report)


def _reports(client: Client, goals: Sequence[Goal]) -> Iterable[StatusReport | None]:
    if len(goals) <= _ONE_BY_ONE:
        return (read_report(client, goal.namespace, goal.name) for goal in goals)
    found = {(report.namespace, report.name): report for report in read_reports(client)}
    return [found.get((goal.namespace, goal.name)) for goal in goals]


def check_patience(error: Unreachable, answered: float) -> None:
    """Raise Unreachable when nobody has answered since `answered` (monotonic seconds) for AWAY_SECONDS."""
    away = time.monotonic() - answered
    if away < AWAY_SECONDS:
        return
    raise Unreachable(
        f"nobody has answered for {away:.0f} s: {error.message}; what was written stays in the silo "
        "and is applied when the agent is back",
        hint=error.hint or AGENT_AWAY,
    ) from error


class Bell:
    """Rings when something in /proc/tambourine changes; watches again by itself after an error."""

    def __init__(self, client: Client, path: str = BELL_FILE) -> None:
        self._client = client
        self._path = path
        self._rang = threading.Event()
        self._closed = threading.Event()

    def __enter__(self) -> Self:
        self._watch = self._client.watch(PROC, self._path)
        self._listener = threading.Thread(target=self._listen, name="bell", daemon=True)
        self._listener.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        self._watch.close()
        # An interrupt (SIGINT) may have struck inside a call of grpc's, and a lock of it is held for ever: then nobody
        # tells the listener that its call is over. It ends with us.
        self._listener.join(_END_SECONDS)

    def clear(self) -> None:
        """Forget what has rung so far."""
        self._rang.clear()

    def wait(self, seconds: float) -> bool:
        """Sleep until it rings, or `seconds`; whether it rang."""
        return self._rang.wait(seconds)

    def _listen(self) -> None:
        while True:
            try:
                for _ in self._watch:
                    self._rang.set()
            except TambourineError:
                pass  # who waits looks once a second without it
            if self._closed.wait(_LAST_PAUSE):
                return
            self._watch = self._client.watch(PROC, self._path)
            if self._closed.is_set():  # __exit__ closed the one before
                self._watch.close()
