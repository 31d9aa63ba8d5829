"""A service as a row of `tambourine get`. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from tambourinefs.cli.common.text import active_state, age
from tambourinefs.model.status import READY

if TYPE_CHECKING:
    from datetime import datetime

    from tambourinefs.model.status import StatusReport

COLUMNS = ("NAME", "UNIT", "READY", "ACTIVE", "SINCE")
WIDE = ("PID", "TASKS", "MEMORY", "CGROUP")


def row(report: StatusReport, now: datetime, *, wide: bool, namespaces: bool) -> list[str]:
    """The cells of one service."""
    cells = [report.namespace] if namespaces else []
    cells += [report.name, report.unit, ready(report), active_state(report)]
    cells.append(age(report.since, now))
    if wide:
        cells += [
            str(report.main_pid or ""),
            report.tasks.split(" ")[0],
            report.memory,
            report.cgroup,
        ]
    return cells


def ready(report: StatusReport) -> str:
    """`True`, or the status and why, such as `False/Failed`. Accepted and Applied come before Ready: they explain it."""
    conditions = [c for kind in ("Accepted", "Applied", READY) if (c := report.condition(kind))]
    why = next((c for c in conditions if c.status != "True"), None)
    if why is not None:
        return f"{why.status}/{why.reason}"
    return "True" if report.condition(READY) else "Unknown"


def header(*, wide: bool, namespaces: bool) -> list[str]:
    """The first line's cells."""
    return [*(["NAMESPACE"] if namespaces else []), *COLUMNS, *(WIDE if wide else ())]


def coloured(line: str, report: StatusReport) -> str:
    """Red where a service is not ready, yellow where that is not known yet; click strips colours in a pipe."""
    colour = {"F": "red", "U": "yellow"}.get(ready(report)[0])
    return click.style(line, fg=colour) if colour else line
