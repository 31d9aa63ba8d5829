"""`tambourine get -w`: the table, then a line whenever a service changes, until interrupted."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from tambourinefs.cli.common.text import aligned, widths
from tambourinefs.cli.common.wait import LAST_PAUSE, readings
from tambourinefs.cli.host.connection import read_reports
from tambourinefs.cli.host.rows import coloured, header, row
from tambourinefs.cli.host.watching import PATIENCE, ProcWatch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tambourinefs.model.names import NamespacedName
    from tambourinefs.model.status import StatusReport
    from tambourinefs.rpc.client import Client


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
