"""What Bombshell reports of goals, and notifications of changes in /proc/tambourine: the source of the wait loop."""

from __future__ import annotations

import itertools
import threading
from typing import TYPE_CHECKING, Final, Self

from tambourinefs.cli.common.goal import Goal, GoalResult, GoalState, NodeResult, evaluate
from tambourinefs.cli.common.outcome import wait_and_report
from tambourinefs.cli.common.wait import LAST_PAUSE, Patience, readings
from tambourinefs.cli.host.connection import AGENT_AWAY, PROC, read_proc, read_report, read_reports
from tambourinefs.errors import TambourineError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tambourinefs.rpc.client import Client

PATIENCE: Final = Patience(
    15.0, AGENT_AWAY
)  # longer than any one of the daemons needs to come back
_STORED: Final = "; the manifest is in the silo and is applied when the agent is back"
_ONE_BY_ONE: Final = 8  # up to so many reports are read singly, more in one list
_END_SECONDS: Final = 2.0  # a call that is cancelled ends within milliseconds
_JOURNAL_LINES: Final = 10
_JOURNAL_PAUSE: Final = 0.4  # seconds; the agent reads what a burst of changes logged after 0.2
_JOURNAL_READINGS: Final = 5
SERVICES: Final = "services.json"


def next_step(result: GoalResult) -> str:
    """The command to type after a failure."""
    name, status = result.goal.name, result.status
    if status.state is GoalState.REFUSED:
        return "tambourine config          shows this host's rules and where each comes from"
    if status.state is GoalState.INVALID:
        return f"fix the manifest and apply it again; tambourine get {name} -o yaml   shows it"
    if status.reason == "Waiting":
        return "systemctl status tambourine.service   shows whether the agent runs"
    if not status.done:
        return f"tambourine get {name} -w"
    return f"tambourine status {name}     shows what systemd reports; tambourine logs {name}"


class ProcWatch:
    """Sets `changed` when a file of /proc/tambourine changes; watches again by itself after an error."""

    def __init__(self, client: Client, path: str = SERVICES) -> None:
        self.changed = threading.Event()
        self._client = client
        self._path = path
        self._closed = threading.Event()

    def __enter__(self) -> Self:
        self._watch = self._client.watch(PROC, self._path)
        self._listener = threading.Thread(target=self._listen, name="proc-watch", daemon=True)
        self._listener.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        self._watch.close()
        # An interrupt (SIGINT) may have struck inside a call of grpc's and left a lock of it held:
        # then the listener never learns that its call is over. It ends with the process.
        self._listener.join(_END_SECONDS)

    def _listen(self) -> None:
        while True:
            try:
                for _ in self._watch:
                    self.changed.set()
            except TambourineError:
                pass  # the wait loop reads once a second without it
            if self._closed.wait(LAST_PAUSE):
                return
            self._watch = self._client.watch(PROC, self._path)
            if self._closed.is_set():  # __exit__ closed the one before
                self._watch.close()


class BombshellSource(ProcWatch):
    """Goals' results by the agent's reports."""

    patience = Patience(PATIENCE.seconds, AGENT_AWAY, _STORED)

    def read(self, goals: Sequence[Goal]) -> list[GoalResult]:
        """Raises Unreachable."""
        if len(goals) <= _ONE_BY_ONE:
            reports = [read_report(self._client, goal.namespace, goal.name) for goal in goals]
        else:
            known = {
                (report.namespace, report.name): report for report in read_reports(self._client)
            }
            reports = [known.get((goal.namespace, goal.name)) for goal in goals]
        results = []
        for goal, report in zip(goals, reports, strict=True):
            status = evaluate(goal, report)
            results.append(GoalResult(goal, status, {"": NodeResult(status, report)}))
        return results

    def journals(self, result: GoalResult) -> Mapping[str, Sequence[str]]:
        """The journal's end once two readings agree: a unit's state is published before its last lines are read."""
        goal, before = result.goal, [""]
        tails = readings(
            threading.Event(),
            lambda: journal_tail(self._client, goal.namespace, goal.name),
            self.patience,
            first_pause=_JOURNAL_PAUSE,
        )
        for lines in itertools.islice(tails, _JOURNAL_READINGS):
            if lines and lines == before:
                break
            before = lines
        return {"": lines} if lines else {}

    next_step = staticmethod(next_step)


def journal_tail(
    client: Client, namespace: str, name: str, lines: int = _JOURNAL_LINES
) -> list[str]:
    """The last lines of the journal; empty where there are none, or none to be read."""
    try:
        data = read_proc(client, f"{namespace}/{name}/journal")
    except TambourineError:
        return []
    return data.decode(errors="replace").splitlines()[-lines:]


def wait_for(client: Client, goals: Sequence[Goal], *, timeout: float) -> int:
    """Wait for goals on this host, print how each ended, and return the exit code. Raises Unreachable."""
    with BombshellSource(client) as source:
        return wait_and_report(source, goals, timeout=timeout)
