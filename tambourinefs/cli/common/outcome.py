"""Waiting for goals, and what is printed when the wait is over: a line for each, failures with cause and next step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from tambourinefs.cli.common.goal import GoalState
from tambourinefs.cli.common.progress import shown
from tambourinefs.cli.common.text import Duration, active_state, indent
from tambourinefs.cli.common.wait import wait
from tambourinefs.model.names import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tambourinefs.cli.common.goal import Goal, GoalResult
    from tambourinefs.cli.common.wait import Source

_NODES_SHOWN: Final = 10
_REJECTED: Final = (GoalState.REFUSED, GoalState.INVALID)


def wait_options(timeout: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """--no-wait and --timeout, which is `timeout` by default."""

    def options(command: Callable[..., Any]) -> Callable[..., Any]:
        command = click.option(
            "--timeout",
            type=Duration(),
            default=timeout,
            show_default=True,
            help="How long to wait, such as 90s or 2m; then exit 1.",
        )(command)
        return click.option(
            "--no-wait", is_flag=True, help="Return as soon as the change is stored."
        )(command)

    return options


def wait_and_report(source: Source, goals: Sequence[Goal], *, timeout: float) -> int:
    """Wait for all goals, print how each ended, and return the exit code: the highest of all.

    Raises Unreachable.
    """
    results = shown(goals, wait(source, goals, timeout=timeout)) if goals else []
    for result in results:
        if result.status.state is GoalState.READY:
            click.echo(f"{result.goal} {_success(result)}")
            continue
        rejected = result.status.state in _REJECTED
        lines = [
            *failure(result, timeout),
            *journal_lines({} if rejected else source.journals(result)),
            f"  next: {source.next_step(result)}",
        ]
        click.echo("\n".join(lines), err=True)
    return max((result.status.exit_code for result in results), default=0)


def _success(result: GoalResult) -> str:
    if result.goal.gone:
        return "deleted"
    if result.status.reason == "Superseded":
        return f"superseded: {result.status.message}"
    reports = [node.report for node in result.nodes.values() if node.report]
    if "" in result.nodes:  # this host
        where, states = "", {active_state(report) for report in reports} - {""}
    else:
        where = f" on {ready_count(result)} of {len(result.nodes)} nodes"
        states = {report.active_state for report in reports} - {""}
    return printable(f"ready{where}" + (f": {', '.join(sorted(states))}" if states else ""))


def ready_count(result: GoalResult) -> int:
    """On how many nodes the goal is reached."""
    return sum(node.status.state is GoalState.READY for node in result.nodes.values())


def failing(result: GoalResult) -> list[str]:
    """The nodes that keep the goal from being reached, by name."""
    return [
        name
        for name, node in sorted(result.nodes.items())
        if node.status.state is not GoalState.READY and node.status.done >= result.status.done
    ]


def failure(result: GoalResult, timeout: float) -> list[str]:
    """`error: …` with the whole message, then each node that is not ready, and the unit's own reason."""
    status = result.status
    what = "is refused" if status.state in _REJECTED else "is not ready"
    if result.goal.gone:
        what = "is not deleted"
    if not status.done:
        what += f" after {timeout:g} s"
    head, *rest = f"error: {result.goal} {what}: {status}".splitlines()
    nodes = failing(result)
    for name in nodes[:_NODES_SHOWN]:
        node = result.nodes[name]
        reason = node.report.reason if node.report else ""
        if name:
            rest.append(f"{name}: {' '.join(str(node.status).split())}")
        elif reason and reason not in status.message:
            rest.append(f"reason: {reason}")
    if len(nodes) > _NODES_SHOWN:
        rest.append(f"… and {len(nodes) - _NODES_SHOWN} more nodes")
    return [printable(line) for line in (head, *indent(rest))]


def journal_lines(journals: Mapping[str, Sequence[str]]) -> list[str]:
    """Each node's last lines below a heading."""
    lines = []
    for node, journal in journals.items():
        lines.append(printable(f"  journal of {node}:" if node else "  journal:"))
        lines += indent((printable(line, keep="\t") for line in journal), "    ")
    return lines
