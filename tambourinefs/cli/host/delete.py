"""`tambourine delete`: removes the manifest; the agent then removes what it installed."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import click

from tambourinefs.cli.common.goal import Goal
from tambourinefs.cli.common.outcome import wait_options
from tambourinefs.cli.host.connection import (
    LOCAL,
    SILO,
    Connection,
    host_options,
    manifest_path,
    read_report,
)
from tambourinefs.cli.host.options import (
    DEFAULT_TIMEOUT,
    file_option,
    name_argument,
    namespace_option,
)
from tambourinefs.errors import Conflict, NotFound, Unreachable
from tambourinefs.model import paths

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tambourinefs.rpc.client import Client


@click.command(short_help="Remove services from this host: stop, disable, uninstall.")
@name_argument(many=True, required=False)
@file_option("Delete the services that these manifests name.", required=False)
@click.option(
    "--ignore-not-found",
    is_flag=True,
    help='Treat "resource not found" as a successful delete.',
)
@namespace_option
@wait_options(DEFAULT_TIMEOUT)
@host_options
@click.pass_context
def delete(
    ctx: click.Context,
    *,
    names: Sequence[str],
    files: Sequence[str],
    ignore_not_found: bool,
    namespace: str,
    no_wait: bool,
    timeout: float,
    host: Connection,
) -> None:
    """Remove services from this host, and wait until they are gone.

    The agent stops and disables the unit and removes what it installed; a file that it had replaced is restored.
    With `deletionPolicy: orphan` the unit stays installed and keeps running, no longer managed.

    \b
    Examples:
      tambourine delete hello
      tambourine delete -f services/
      tambourine delete hello --ignore-not-found

    \b
    Exit codes: 0 deleted, 1 not found or not deleted in time, 2 managed in Kubernetes, 4 Bombshell cannot be reached.
    """
    from tambourinefs.cli.host.local import check_local, not_found
    from tambourinefs.cli.host.sources import read_all
    from tambourinefs.cli.host.watching import wait_for

    check_local(namespace, names, "delete")
    wanted = [*names, *(source.manifest.metadata.name for source in read_all(files))]
    if not wanted:
        raise click.UsageError("give a NAME or -f FILE")
    code = 0
    with host.connect() as client:
        goals = []
        for name in dict.fromkeys(wanted):
            goal = remove(client, name)
            if goal is not None:
                goals.append(goal)
            elif not ignore_not_found:
                raise not_found(client, name, "delete")
        if no_wait:
            for goal in goals:
                click.echo(f"{goal} will be deleted")
        else:
            code = wait_for(client, goals, timeout=timeout)
    ctx.exit(code)


def remove(client: Client, name: str) -> Goal | None:
    """Remove the manifest of `local/<name>`, then its payload; None where there was no manifest.

    Of the payload only what existed before is removed: another client may apply the service again meanwhile.

    Raises Conflict, Unreachable.
    """
    uid = _known_uid(client, name)
    beside = _beside(client, name)
    try:
        client.remove(SILO, manifest_path(name))
    except NotFound:
        if uid is None:
            return None
    for path, etag in beside:
        with contextlib.suppress(NotFound, Conflict):
            client.remove(SILO, path, if_match=etag)
    with contextlib.suppress(NotFound, Conflict):
        client.remove(SILO, f"{LOCAL}/{name}")
    return Goal(LOCAL, name, uid or "", 0, gone=True)


def _known_uid(client: Client, name: str) -> str | None:
    """The uid that the agent reports; None where it lists no such service, "" where it does not answer."""
    try:
        report = read_report(client, LOCAL, name)
    except Unreachable:
        return ""
    return report.uid if report else None


def _beside(client: Client, name: str) -> list[tuple[bytes, str]]:
    """Path and etag of the payload."""
    directory = f"{LOCAL}/{name}"
    try:
        entries = client.list(SILO, directory)
    except NotFound:
        return []
    return [
        (f"{directory}/".encode() + entry.name, entry.etag)
        for entry in entries
        if entry.kind == "file" and entry.name != paths.MANIFEST_FILE.encode()
    ]
