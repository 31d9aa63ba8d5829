"""The short files: conditions, last-command, journal, and the table of all services. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tambourinefs.model.names import printable
from tambourinefs.model.status import READY, condition_of
from tambourinefs.procfs.render import values

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tambourinefs.model.status import LastCommand
    from tambourinefs.model.view import ServiceView

_HEADER: Final = ("NAMESPACE", "NAME", "UNIT", "ACTIVE", "PID", "READY", "GENERATION")
_MAX_COLUMN: Final = 64  # one long name does not widen the column of all


def conditions(view: ServiceView) -> str:
    """One a line: type, status, reason and message."""
    rows = [(c.type, c.status, c.reason, printable(c.message)) for c in view.conditions]
    return aligned(rows)


def last_command(command: LastCommand | None) -> str:
    """`key: value` lines; empty before the first command."""
    if command is None:
        return ""
    pairs = (
        ("command", command.command),
        ("commandID", command.command_id),
        ("result", command.result),
        ("message", command.message),
        ("time", command.time),
        ("invocationID", command.invocation_id),
    )
    return "".join(f"{key}: {printable(value)}\n" for key, value in pairs if value)


def journal(lines: Iterable[str]) -> str:
    """The lines of journald, each escaped to one line."""
    return "".join(f"{printable(line, keep=chr(9))}\n" for line in lines)


def service_row(view: ServiceView) -> tuple[str, ...]:
    """The cells of one service in `services.txt`; `-` for an empty one, so that awk finds its
    columns.
    """
    unit = view.unit
    ready = condition_of(view.conditions, READY)
    cells = (
        view.namespace,
        view.name,
        view.unit_name,
        values.state(unit).replace(" ", "") if unit else "",
        str(unit.main_pid) if unit and unit.main_pid else "",
        f"{ready.status}/{ready.reason}" if ready else "",
        str(view.generation),
    )
    return tuple(printable(cell).replace(" ", "\\x20") or "-" for cell in cells)


def services_text(rows: Iterable[Sequence[str]]) -> str:
    """`services.txt`: a header, then one line a service."""
    return aligned([_HEADER, *rows])


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Columns two spaces apart, the last one unpadded; ends in a newline unless there are no rows."""
    if not rows:
        return ""
    widths = [min(max(map(len, column)), _MAX_COLUMN) for column in zip(*rows, strict=True)]
    widths[-1] = 0
    lines = ("  ".join(f"{c:<{w}}" for c, w in zip(row, widths, strict=True)) for row in rows)
    return "".join(f"{line.rstrip()}\n" for line in lines)
