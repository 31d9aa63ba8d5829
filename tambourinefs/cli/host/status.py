"""`tambourine status`: what `systemctl status` shows, whether it is as asked and why, and the journal's last lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from tambourinefs.cli.common.text import indent, table
from tambourinefs.cli.common.verdict import Goal
from tambourinefs.cli.host.connection import Host, host_options, read_proc, read_report
from tambourinefs.cli.host.options import name_argument, namespace_option
from tambourinefs.cli.host.outcome import journal_tail
from tambourinefs.errors import NotFound
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
    help="Lines of the journal.",
)
@host_options
@click.pass_context
def status(ctx: click.Context, *, name: str, namespace: str, lines: int, host: Host) -> None:
    """Show one service: what systemd says of it, whether it is as asked and why not, and its journal's last lines.

    The first part is /run/tambourine/proc/NAMESPACE/NAME/status, which `cat` shows as well.

    \b
    Examples:
      tambourine status hello
      tambourine status hello --lines 50
      tambourine status -n storage alice-zfs
      tambourine status hello >/dev/null && echo as asked

    \b
    Exit codes: 0 it is as asked, 1 it is not, or is not there, 4 Bombshell or the agent cannot be reached.
    """
    with host.connect() as client:
        report = read_report(client, namespace, name)
        if report is None:
            hint = "tambourine get -A lists all there are"
            raise NotFound(f"tambourine/{name} not found in namespace {namespace}", hint=hint)
        click.echo(describe(client, report, lines), nl=False)
    ready = report.condition(READY)
    ctx.exit(0 if ready is not None and ready.status == "True" else 1)


def describe(client: Client, report: StatusReport, lines: int) -> str:
    """All of it as text.

    Raises NotFound when it is removed meanwhile, Unreachable.
    """
    text = read_proc(client, f"{report.namespace}/{report.name}/status").decode(errors="replace")
    goal = Goal(report.namespace, report.name, report.uid, report.generation)
    tail = journal_tail(client, goal, lines) if lines > 0 else []
    parts = [text.rstrip("\n").splitlines(), conditions(report), tail]
    return "\n\n".join("\n".join(part) for part in parts if part) + "\n"


def conditions(report: StatusReport) -> list[str]:
    """A heading and the conditions, one a line; the further lines of a message are indented."""
    found = [c for kind in (ACCEPTED, APPLIED, READY) if (c := report.condition(kind))]
    if not found:
        return []
    lines = table([c.type, c.status, c.reason] for c in found)
    told = [f"Conditions (generation {report.observed_generation} of {report.generation}):"]
    for condition, line in zip(found, lines, strict=True):
        head, *rest = condition.message.splitlines() or [""]
        told += indent([f"{line}   {head}".rstrip(), *indent(rest, "    ")])
    return told
