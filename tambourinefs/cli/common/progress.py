"""What a command shows while it waits: a live display on a terminal, one line for each change elsewhere.

Both go to standard error; standard output has results only.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

import click

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from tambourinefs.cli.common.goal import Goal, GoalResult, GoalStatus

_SHOWN: Final = 12  # rows of the live display; a terminal is not a log


def shown(goals: Sequence[Goal], waiting: Iterable[Sequence[GoalResult]]) -> Sequence[GoalResult]:
    """Show each change of `waiting` as it comes; returns the last results."""
    show = _live(goals, waiting) if sys.stderr.isatty() else _lines(waiting)
    *_, last = show
    return last


def _lines(waiting: Iterable[Sequence[GoalResult]]) -> Iterator[Sequence[GoalResult]]:
    """One line for each change of a goal that is not done; results are printed at the end."""
    before: dict[Goal, GoalStatus] = {}
    for results in waiting:
        for goal, status, _ in results:
            if before.setdefault(goal, status) != status and not status.done:
                click.echo(f"{goal}: {status}", err=True)
            before[goal] = status
        yield results


def _live(
    goals: Sequence[Goal], waiting: Iterable[Sequence[GoalResult]]
) -> Iterator[Sequence[GoalResult]]:
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as display:
        tasks = {
            goal: display.add_task(f"{goal}: waiting", total=None, visible=place < _SHOWN)
            for place, goal in enumerate(goals)
        }
        before: dict[Goal, GoalStatus] = {}
        for results in waiting:
            for goal, status, _ in results:
                if before.setdefault(goal, status) != status:
                    text = escape(f"{goal}: {status}".splitlines()[0])
                    display.update(tasks[goal], description=text, visible=not status.done)
                before[goal] = status
            yield results
