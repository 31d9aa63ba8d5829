"""`kubectl tambourine status`: what `systemctl status` shows, node by node, and why it is not as asked."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from tambourinefs.cli.plugin.options import name_argument, node_option, target_options
from tambourinefs.cli.plugin.target import Target


@click.command(short_help="Show one service on its nodes: state, conditions, journal.")
@name_argument()
@node_option
@click.option(
    "-l",
    "--lines",
    type=click.IntRange(0),
    default=10,
    show_default=True,
    help="Lines of each node's journal.",
)
@target_options
@click.pass_context
def status(ctx: click.Context, *, name: str, node: str, lines: int, target: Target) -> None:
    """Show a Tambourine, and for each node what `systemctl status` shows there.

    Below it stand the conditions that are not true, with reason and message; where the service failed, also why, and
    the last lines that the failed run logged. All of it comes from the API server: what the nodes reported last.

    \b
    Examples:
      kubectl tambourine status alice-zfs
      kubectl tambourine status alice-zfs -n storage --node h1
      kubectl tambourine status alice-zfs >/dev/null && echo as asked

    \b
    Exit codes: 0 it is as asked on all its nodes (with --node: on that one), 1 it is not, or is not there,
    3 you may not read it, 4 the API server cannot be reached.
    """
    from tambourinefs.cli.plugin import statustext
    from tambourinefs.cli.plugin.objects import on_node, read_instances, read_service

    api = target.connect()
    service = read_service(api, target.namespace, name)
    instances = on_node(service, read_instances(api, service), node)
    for line in statustext.whole(service, instances, datetime.now(UTC), lines):
        click.echo(line)
    generation = service.metadata.generation
    judged = [item.status.conditions for item in instances] if node else [service.status.conditions]
    good = all(statustext.is_ready(found, generation) for found in judged)
    ctx.exit(0 if good else 1)
