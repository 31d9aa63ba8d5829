"""`kubectl tambourine status`: node by node what `systemctl status` shows, and why the service is not ready."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from tambourinefs.cli.plugin.options import name_argument, node_option, target_options

if TYPE_CHECKING:
    from tambourinefs.cli.plugin.target import ClusterTarget


@click.command(short_help="Show one service on its nodes: state, conditions, journal.")
@name_argument()
@node_option
@click.option(
    "-l",
    "--lines",
    type=click.IntRange(0),
    default=10,
    show_default=True,
    help="Number of journal lines of each node.",
)
@target_options
@click.pass_context
def status(ctx: click.Context, *, name: str, node: str, lines: int, target: ClusterTarget) -> None:
    """Show a Tambourine, and for each node what `systemctl status` shows there.

    Also shows the conditions that are not True; for a service that failed, the reason and the last lines of its journal.
    Everything is what the nodes reported last to the API server.

    \b
    Examples:
      kubectl tambourine status alice-zfs
      kubectl tambourine status alice-zfs -n storage --node h1
      kubectl tambourine status alice-zfs >/dev/null && echo ready

    \b
    Exit codes: 0 ready on all its nodes (with --node: on that one), 1 not ready or not found,
    3 forbidden, 4 the API server cannot be reached.
    """
    from tambourinefs.cli.common.text import is_ready
    from tambourinefs.cli.plugin import statustext
    from tambourinefs.cli.plugin.objects import on_node, read_instances, read_service

    api = target.connect()
    service = read_service(api, target.namespace, name)
    instances = on_node(service, read_instances(api, service), node)
    for line in statustext.whole(service, instances, datetime.now(UTC), lines):
        click.echo(line)
    decisive = (
        [item.status.conditions for item in instances] if node else [service.status.conditions]
    )
    ready = all(is_ready(conditions, service.metadata.generation) for conditions in decisive)
    ctx.exit(0 if ready else 1)
