"""Tables, ages and durations as text. Pure; the same bytes on a terminal and in a pipe."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import click

from tambourinefs.model.names import printable
from tambourinefs.model.status import READY

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tambourinefs.model.status import Condition, StatusReport

_GAP: Final = "   "
_NOTHING: Final = "-"
_UNITS: Final = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|)")
# From how many seconds on an age has that unit; kubectl's steps.
_STEPS: Final = ((2 * 86400, 86400, "d"), (2 * 3600, 3600, "h"), (2 * 60, 60, "m"), (0, 1, "s"))


def table(rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines with aligned columns, never truncated."""
    cells = list(rows)
    columns = widths(cells)
    return [aligned(row, columns) for row in cells]


def widths(rows: Iterable[Sequence[str]]) -> list[int]:
    """The width of each column, in characters."""
    return [max(len(cell or _NOTHING) for cell in column) for column in zip(*rows, strict=True)]


def aligned(row: Sequence[str], columns: Sequence[int]) -> str:
    """One line: cells three spaces apart, an empty one a dash, no spaces at the end."""
    cells = ((cell or _NOTHING).ljust(width) for cell, width in zip(row, columns, strict=True))
    return _GAP.join(cells).rstrip()


def age(since: str, now: datetime) -> str:
    """How long ago an RFC 3339 time was, such as `45s`, `12m`, `3h` or `9d`; "" where there is none."""
    if not since:
        return ""
    try:
        then = datetime.fromisoformat(since)
    except ValueError:
        return since
    if then.tzinfo is None:
        then = then.replace(tzinfo=UTC)
    seconds = max(0, int((now - then).total_seconds()))
    return next(f"{seconds // size}{unit}" for least, size, unit in _STEPS if seconds >= least)


def active_state(report: StatusReport | None) -> str:
    """`active (running)`; "" where it is not known."""
    if report is None or not report.active_state:
        return ""
    return f"{report.active_state} ({report.sub_state})"


def counted(number: int, noun: str) -> str:
    """`1 node`, `2 nodes`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def indent(lines: Iterable[str], by: str = "  ") -> list[str]:
    """The lines with `by` before each."""
    return [f"{by}{line}" if line else "" for line in lines]


def condition_lines(conditions: Sequence[Condition]) -> list[str]:
    """One line for each: type, status, reason and message; further lines of a message are indented."""
    rows = [(c.type, c.status, c.reason) for c in conditions]
    lines: list[str] = []
    for condition, line in zip(conditions, table(rows), strict=True):
        head, *rest = condition.message.splitlines() or [""]
        lines.append(printable(f"{line}   {head}".rstrip()))
        lines += indent(printable(text) for text in rest)
    return lines


def is_ready(conditions: Iterable[Condition], generation: int) -> bool:
    """Whether Ready is True, of that generation or a newer one."""
    return any(
        c.type == READY and c.status == "True" and c.observed_generation >= generation
        for c in conditions
    )


class Duration(click.ParamType[float]):
    """`90`, `90s`, `2m`, `1h30m`: seconds as a float."""

    name = "duration"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Raises click.BadParameter for an invalid duration."""
        if isinstance(value, int | float):
            return float(value)
        text = str(value).strip()
        parts = _PART.findall(text)
        if not parts or "".join(number + unit for number, unit in parts) != text:
            self.fail(f'invalid duration "{value}": use 90, 90s, 2m or 1h30m', param, ctx)
        return sum(float(number) * _UNITS[unit] for number, unit in parts)
