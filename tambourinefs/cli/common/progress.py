"""What is seen while a command waits: a live display on a terminal, one line for each change elsewhere.

Both go to standard error; standard output has results only.
"""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Final

import click

from tambourinefs.cli.common.verdict import Goal, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_SHOWN: Final = 12  # rows of the live display; a terminal is not a log


@contextlib.contextmanager
def progress(goals: Sequence[Goal]) -> Iterator[Callable[[Goal, Verdict], None]]:
    """Yields the function that `wait` tells each new verdict to."""
    if sys.stderr.isatty():
        with _live(goals) as tell:
            yield tell
    else:
        yield tell_line


def tell_line(goal: Goal, verdict: Verdict) -> None:
    """One line for a service that is still on its way; results are told at the end."""
    if not verdict.settled:
        click.echo(f"{goal}: {verdict}", err=True)


@contextlib.contextmanager
def _live(goals: Sequence[Goal]) -> Iterator[Callable[[Goal, Verdict], None]]:
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as display:
        tasks = {
            goal: display.add_task(f"{goal}: waiting", total=None, visible=place < _SHOWN)
            for place, goal in enumerate(goals)
        }

        def tell(goal: Goal, verdict: Verdict) -> None:
            text = escape(f"{goal}: {verdict}".splitlines()[0])
            display.update(tasks[goal], description=text, visible=not verdict.settled)

        yield tell
