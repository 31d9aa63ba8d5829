"""What a person is told when the waiting is over: one line each, failures with their why and what next."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import click

from tambourinefs.cli.common.progress import progress
from tambourinefs.cli.common.text import Duration, active_state, indent
from tambourinefs.cli.common.verdict import UNSEEN, Goal, Outcome
from tambourinefs.cli.host.connection import read_proc
from tambourinefs.cli.host.wait import Result, wait
from tambourinefs.errors import TambourineError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from tambourinefs.rpc.client import Client

DEFAULT_TIMEOUT: Final = (
    "5m"  # longer than systemd's own 90 s for a start, so that its reason is told
)
_JOURNAL_LINES: Final = 10
_JOURNAL_SETTLE: Final = 0.4  # seconds; the agent reads what a burst of changes said after 0.2
_JOURNAL_LOOKS: Final = 5
_UNREACHABLE: Final = 4


def wait_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """--no-wait and --timeout."""
    command = click.option(
        "--timeout",
        type=Duration(),
        default=DEFAULT_TIMEOUT,
        show_default=True,
        help="How long to wait, such as 90s or 2m; then exit 1.",
    )(command)
    return click.option(
        "--no-wait", is_flag=True, help="Return as soon as the manifest is safely in the silo."
    )(command)


def wait_and_tell(client: Client, goals: Sequence[Goal], *, timeout: float) -> int:
    """Wait for all of them, tell how each ended, and return the exit code: the highest of all.

    Raises Unreachable.
    """
    if not goals:
        return 0
    with progress(goals) as tell:
        results = wait(client, goals, timeout=timeout, tell=tell)
    for result in results:
        _tell(client, result, timeout)
    return max(_code(result) for result in results)


def _code(result: Result) -> int:
    if result.verdict.settled:
        return result.verdict.outcome.value
    unseen = result.verdict == UNSEEN and result.report is None
    return _UNREACHABLE if unseen and not result.goal.gone else Outcome.NOT_AS_ASKED.value


def _tell(client: Client, result: Result, timeout: float) -> None:
    if result.verdict.outcome is Outcome.AS_ASKED:
        click.echo(f"{result.goal} {_success(result)}")
        return
    for line in failure(result, timeout):
        click.echo(line, err=True)
    if result.verdict.outcome in (Outcome.NOT_AS_ASKED, Outcome.PENDING):
        journal = _settled_journal(client, result.goal)
        if journal:
            click.echo("  journal:", err=True)
        for line in indent(journal, "    "):
            click.echo(line, err=True)
    click.echo(f"  next: {next_step(result)}", err=True)


def _success(result: Result) -> str:
    if result.goal.gone:
        return "deleted"
    state = active_state(result.report)
    if result.verdict.reason == "Superseded":
        return f"superseded: {result.verdict.message}"
    return f"ready: {state}" if state else "ready"


def failure(result: Result, timeout: float) -> list[str]:
    """What went wrong, without the journal: first line `error: …`, then the rest of the message and the reason, indented."""
    verdict = result.verdict
    if verdict.settled:
        what = "is refused" if verdict.about == "Accepted" else "is not as asked"
    else:
        what = f"is not as asked after {timeout:g} s"
    head, *rest = f"error: {result.goal} {what}: {verdict}".splitlines()
    reason = result.report.reason if result.report else ""
    if reason and reason not in verdict.message:
        rest += [f"reason: {reason}"]
    return [head, *indent(rest)]


def next_step(result: Result) -> str:
    """The command to type next."""
    name, verdict = result.goal.name, result.verdict
    if verdict.outcome is Outcome.REFUSED:
        return "tambourine config          shows this host's rules and where each comes from"
    if verdict.outcome is Outcome.INVALID:
        return f"mend the manifest and apply it again; tambourine get {name} -o yaml   shows it"
    if verdict == UNSEEN:
        return "systemctl status tambourine.service   the agent has not looked at it"
    if not verdict.settled:
        return f"tambourine get {name} -w"
    return f"tambourine status {name}     all that systemd says; tambourine logs {name}"


def _settled_journal(client: Client, goal: Goal) -> list[str]:
    """The journal's tail once it has come to rest: a unit's state is published before its last lines are read."""
    lines: list[str] = []
    for _ in range(_JOURNAL_LOOKS):
        before, lines = lines, journal_tail(client, goal)
        if lines and lines == before:
            break
        time.sleep(_JOURNAL_SETTLE)
    return lines


def journal_tail(client: Client, goal: Goal, lines: int = _JOURNAL_LINES) -> list[str]:
    """The last lines of the journal; empty where there are none, or none to be read."""
    try:
        data = read_proc(client, f"{goal.namespace}/{goal.name}/journal")
    except TambourineError:
        return []
    return data.decode(errors="replace").splitlines()[-lines:]
