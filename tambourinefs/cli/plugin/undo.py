"""`kubectl tambourine undo | history`: an earlier revision of the content is applied again, as any edit."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from tambourinefs.cli.common.outcome import wait_options
from tambourinefs.cli.common.text import age, counted, table
from tambourinefs.cli.plugin.options import DEFAULT_TIMEOUT, name_argument, target_options
from tambourinefs.cli.plugin.target import ClusterTarget
from tambourinefs.model.names import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tambourinefs.cli.plugin.objects import TambourineObject
    from tambourinefs.model import cluster

COLUMNS = ("REVISION", "AGE", "NODES", "CURRENT", "CONTENT")


@click.command(short_help="List the revisions of a service.")
@name_argument()
@target_options
def history(*, name: str, target: ClusterTarget) -> None:
    """List the revisions of a Tambourine, oldest first.

    A revision holds the unit, drop-ins and files; command and node selection are not part of it. Content that returns
    keeps its old revision and its place. NODES is the number of nodes that have it now.

    \b
    Examples:
      kubectl tambourine history alice-zfs
      kubectl get tambourinerevision NAME -o yaml      show the content of a revision

    \b
    Exit codes: 0 listed, 1 not found, 3 forbidden, 4 the API server cannot be reached.
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
        click.echo(f"{service.label} has no revisions yet", err=True)
        return
    for line in table([COLUMNS, *lines]):
        click.echo(line)


def rows(
    revisions: Sequence[cluster.Revision],
    now_there: cluster.Revision | None,
    instances: Sequence[cluster.Instance],
    now: datetime,
) -> list[list[str]]:
    """One line for each revision."""
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


@click.command(short_help="Roll back a service to an earlier revision.")
@name_argument()
@click.option(
    "--to-revision",
    default="",
    metavar="REVISION",
    help="The name of the revision or the first digits of its digest [default: the newest that is not current].",
)
@wait_options(DEFAULT_TIMEOUT)
@target_options
@click.pass_context
def undo(
    ctx: click.Context,
    *,
    name: str,
    to_revision: str,
    no_wait: bool,
    timeout: float,
    target: ClusterTarget,
) -> None:
    """Roll back a Tambourine to an earlier revision: unit, drop-ins, files, enabled, onChange, deletionPolicy.

    It is rolled out by spec.rollout as any edit, also after a rollout that stopped. Command, node selection and rollout
    do not change. A second undo restores the first content. If the manifest is kept in git, revert it there too:
    otherwise the next sync from git reverts the undo.

    \b
    Examples:
      kubectl tambourine undo alice-zfs
      kubectl tambourine history alice-zfs
      kubectl tambourine undo alice-zfs --to-revision 4f1c9a

    \b
    Exit codes: 0 ready, 1 not ready, or no such revision, 2 wrong usage, 3 refused by the cluster or by a host,
    4 the API server or the controller cannot be reached.
    """
    from tambourinefs.cli.plugin.edit import edit
    from tambourinefs.cli.plugin.objects import read_service
    from tambourinefs.cli.plugin.revisions import chosen, difference, read_revisions
    from tambourinefs.cli.plugin.watching import wait_for

    api, namespace = target.connect(), target.namespace
    service = read_service(api, namespace, name)
    revision = chosen(service, read_revisions(api, service), to_revision)

    def change(service: TambourineObject) -> dict[str, Any]:
        return difference(service, revision)

    goal = edit(api, namespace, name, change, "undo")
    click.echo(printable(f"{goal} rolled back to revision {revision.metadata.name}"))
    ctx.exit(0 if no_wait else wait_for(api, [goal], timeout=timeout))
