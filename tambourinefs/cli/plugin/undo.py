"""`kubectl tambourine undo | history`: a content that was there before is applied again, as an edit like any other."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from tambourinefs.cli.common.text import age, counted, table
from tambourinefs.cli.plugin.options import name_argument, target_options
from tambourinefs.cli.plugin.target import Target
from tambourinefs.cli.plugin.waiting import wait_options
from tambourinefs.model.names import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tambourinefs.cli.plugin.objects import Service
    from tambourinefs.model import cluster

COLUMNS = ("REVISION", "AGE", "NODES", "CURRENT", "CONTENT")


@click.command(short_help="List the contents that a service has had.")
@name_argument()
@target_options
def history(*, name: str, target: Target) -> None:
    """List the contents that a Tambourine has had, the oldest first: each is a TambourineRevision.

    A content is the unit, drop-ins and files; command and choice of nodes are not in it. One that comes back keeps its
    old revision and its place. NODES is how many nodes have it on the host now.

    \b
    Examples:
      kubectl tambourine history alice-zfs
      kubectl get tambourinerevision NAME -o yaml      all of one

    \b
    Exit codes: 0 listed, 1 no such Tambourine, 3 you may not read it, 4 the API server cannot be reached.
    """
    from tambourinefs.cli.plugin.objects import read_instances, read_service
    from tambourinefs.cli.plugin.revisions import current, read_revisions

    api = target.connect()
    service = read_service(api, target.namespace, name)
    revisions = read_revisions(api, service)
    lines = rows(
        revisions, current(service, revisions), read_instances(api, service), datetime.now(UTC)
    )
    if not lines:
        click.echo(f"{service.label} has no revision yet", err=True)
        return
    for line in table([COLUMNS, *lines]):
        click.echo(line)


def rows(
    revisions: Sequence[cluster.Revision],
    now_there: cluster.Revision | None,
    instances: Sequence[cluster.Instance],
    now: datetime,
) -> list[list[str]]:
    """One line a revision."""
    return [
        [
            revision.metadata.name,
            age(revision.metadata.creation_timestamp, now),
            str(sum(item.status.revision == revision.metadata.name for item in instances)),
            "*" if revision is now_there else "",
            summary(revision.spec.content),
        ]
        for revision in revisions
    ]


def summary(content: cluster.Content) -> str:
    """`unit of 7 lines, 1 drop-in, 2 files`."""
    parts = []
    if content.unit is not None:
        parts.append(f"unit of {counted(len(content.unit.splitlines()), 'line')}")
    if content.drop_ins:
        parts.append(counted(len(content.drop_ins), "drop-in"))
    if content.files:
        parts.append(counted(len(content.files), "file"))
    return ", ".join(parts) or "the host's own unit"


@click.command(short_help="Go back to the content that a service had before.")
@name_argument()
@click.option(
    "--to-revision",
    default="",
    metavar="REVISION",
    help="This one, by its name or the first digits of its digest [default: the newest that is not current].",
)
@wait_options
@target_options
@click.pass_context
def undo(
    ctx: click.Context,
    *,
    name: str,
    to_revision: str,
    no_wait: bool,
    timeout: float,
    target: Target,
) -> None:
    """Go back to the content that a Tambourine had before: unit, drop-ins, files, enabled, onChange, deletionPolicy.

    It is an edit as any other: it goes over the nodes by spec.rollout, also when a rollout had stopped. Command,
    choice of nodes and rollout stay as they are. Undone twice, the content is what it was at first. Who keeps the
    manifest in git should undo it there: the next sync from git brings it back.

    \b
    Examples:
      kubectl tambourine undo alice-zfs
      kubectl tambourine history alice-zfs
      kubectl tambourine undo alice-zfs --to-revision 4f1c9a

    \b
    Exit codes: 0 as asked, 1 it is not, or there is no such revision, 2 wrong usage, 3 refused by the cluster or by a
    host, 4 the API server or the controller cannot be reached.
    """
    from tambourinefs.cli.plugin.edit import edit
    from tambourinefs.cli.plugin.objects import read_service
    from tambourinefs.cli.plugin.revisions import chosen, difference, read_revisions
    from tambourinefs.cli.plugin.waiting import wait_and_tell

    api, namespace = target.connect(), target.namespace
    service = read_service(api, namespace, name)
    revision = chosen(service, read_revisions(api, service), to_revision)

    def change(service: Service) -> dict[str, Any]:
        return difference(service, revision)

    goal = edit(api, namespace, name, change, "undo")
    click.echo(printable(f"{goal} goes back to revision {revision.metadata.name}"))
    ctx.exit(0 if no_wait else wait_and_tell(api, [goal], timeout=timeout))
