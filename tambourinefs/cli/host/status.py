"""`tambourine status`: what `systemctl status` shows, the conditions, and the journal's last lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from tambourinefs.cli.common.text import condition_lines, indent, is_ready
from tambourinefs.cli.host.connection import Connection, host_options, read_proc, read_report
from tambourinefs.cli.host.local import missing
from tambourinefs.cli.host.options import name_argument, namespace_option
from tambourinefs.cli.host.watching import journal_tail
from tambourinefs.model.status import ACCEPTED, APPLIED, READY

if TYPE_CHECKING:
    from tambourinefs.model.status import StatusReport
    from tambourinefs.rpc.client import Client


@click.command(short_help="Show one service: state, conditions, journal.")
@name_argument()
@namespace_option
@click.option(
    "-l",
    "--lines",
    type=click.IntRange(0),
    default=10,
    show_default=True,
    help="Number of journal lines.",
)
@host_options
@click.pass_context
def status(ctx: click.Context, *, name: str, namespace: str, lines: int, host: Connection) -> None:
    """Show one service: its state in systemd, its conditions, and the last lines of its journal.

    The first part is the file /run/tambourine/proc/NAMESPACE/NAME/status.

    \b
    Examples:
      tambourine status hello
      tambourine status hello --lines 50
      tambourine status -n storage alice-zfs
      tambourine status hello >/dev/null && echo ready

    \b
    Exit codes: 0 ready, 1 not ready or not found, 4 Bombshell or the agent cannot be reached.
    """
    with host.connect() as client:
        report = read_report(client, namespace, name)
        if report is None:
            raise missing(name, namespace)
        click.echo(describe(client, report, lines), nl=False)
    ctx.exit(0 if is_ready(report.conditions, 0) else 1)


def describe(client: Client, report: StatusReport, lines: int) -> str:
    """All of it as text.

    Raises NotFound when it is removed meanwhile, Unreachable.
    """
    text = read_proc(client, f"{report.namespace}/{report.name}/status").decode(errors="replace")
    tail = journal_tail(client, report.namespace, report.name, lines) if lines > 0 else []
    parts = [text.rstrip("\n").splitlines(), conditions(report), tail]
    return "\n\n".join("\n".join(part) for part in parts if part) + "\n"


def conditions(report: StatusReport) -> list[str]:
    """A heading and the conditions, one a line."""
    found = [c for kind in (ACCEPTED, APPLIED, READY) if (c := report.condition(kind))]
    heading = f"Conditions (generation {report.observed_generation} of {report.generation}):"
    return [heading, *indent(condition_lines(found))] if found else []
