"""Services as a table, and `tambourine get -w`: the table, then a line for each change, until interrupted."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from tambourinefs.cli.common.text import active_state, age, aligned, table, widths
from tambourinefs.cli.common.wait import LAST_PAUSE, readings
from tambourinefs.cli.host.connection import read_reports
from tambourinefs.cli.host.watching import PATIENCE, ProcWatch
from tambourinefs.model.status import ACCEPTED, APPLIED, READY

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tambourinefs.model.names import NamespacedName
    from tambourinefs.model.status import StatusReport
    from tambourinefs.rpc.client import Client


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
    conditions = [c for kind in (ACCEPTED, APPLIED, READY) if (c := report.condition(kind))]
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


def print_table(reports: Sequence[StatusReport], *, wide: bool, namespaces: bool) -> None:
    """Print the services that there are."""
    if not reports:
        click.echo("No services found. To create one, see `tambourine apply --help`.", err=True)
        return
    now = datetime.now(UTC)
    rows = [row(report, now, wide=wide, namespaces=namespaces) for report in reports]
    head, *lines = table([header(wide=wide, namespaces=namespaces), *rows])
    click.echo(head)
    for line, report in zip(lines, reports, strict=True):
        click.echo(coloured(line, report))


def follow(client: Client, namespace: str | None, names: Sequence[str], *, wide: bool) -> None:
    """Print what there is and then what changes; `namespace` None means all. Never returns.

    Raises Unreachable once Bombshell or the agent has not answered for some seconds.
    """
    shown: dict[NamespacedName, list[str]] = {}
    columns: list[int] = []
    with ProcWatch(client) as watch:
        for found in readings(
            watch.changed, lambda: read_reports(client), PATIENCE, first_pause=LAST_PAUSE
        ):
            reports = {
                (report.namespace, report.name): report
                for report in found
                if namespace in (None, report.namespace) and (not names or report.name in names)
            }
            columns = _show(reports, shown, columns, wide=wide, namespaces=namespace is None)


def _show(
    reports: dict[NamespacedName, StatusReport],
    shown: dict[NamespacedName, list[str]],
    columns: list[int],
    *,
    wide: bool,
    namespaces: bool,
) -> list[int]:
    """Print the rows that differ from what was `shown`, which is brought up to date; the widths of the columns."""
    now = datetime.now(UTC)
    rows = {
        key: row(report, now, wide=wide, namespaces=namespaces) for key, report in reports.items()
    }
    head = header(wide=wide, namespaces=namespaces)
    if not columns:
        columns = widths([head, *rows.values()])
        click.echo(aligned(head, columns))
    for key, cells in rows.items():
        if shown.get(key) != _fingerprint(reports[key]):
            click.echo(coloured(aligned(cells, columns), reports[key]))
        shown[key] = _fingerprint(reports[key])
    for key in shown.keys() - rows.keys():
        cells = [*(key if namespaces else key[1:]), shown.pop(key)[0], "Deleted"]
        click.echo(aligned([*cells, *[""] * (len(head) - len(cells))], columns))
    return columns


def _fingerprint(report: StatusReport) -> list[str]:
    """What prints a new line when it changes: not ages, memory or tasks, which always do."""
    conditions = [f"{c.type}{c.status}{c.reason}" for c in report.conditions]
    state = [report.active_state, report.sub_state, report.since, str(report.main_pid)]
    return [report.unit, *state, *conditions]
