"""Conditions as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tambourinefs.cli.common.text import indent, table
from tambourinefs.model.names import printable
from tambourinefs.model.status import READY

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tambourinefs.model.status import Condition


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
