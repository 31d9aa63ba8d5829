"""`tambourine delete`: the manifest goes first; the agent then takes off the host what it put there."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import click

from tambourinefs.cli.common.verdict import Goal
from tambourinefs.cli.host.connection import (
    LOCAL,
    SILO,
    Host,
    host_options,
    manifest_path,
    read_report,
)
from tambourinefs.cli.host.options import name_argument, namespace_option
from tambourinefs.cli.host.outcome import wait_and_tell, wait_options
from tambourinefs.errors import Conflict, NotFound, Unreachable
from tambourinefs.model import paths

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tambourinefs.rpc.client import Client


@click.command(short_help="Take services off this host: stop, disable, remove.")
@name_argument(many=True, required=False)
@click.option(
    "-f",
    "--filename",
    "files",
    multiple=True,
    type=click.Path(exists=True, allow_dash=True),
    metavar="FILE|DIR|-",
    help="Delete what these manifests name.",
)
@click.option("--ignore-not-found", is_flag=True, help="What is not there is no failure.")
@namespace_option
@wait_options
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
    host: Host,
) -> None:
    """Take services off this host, and wait until they are gone.

    The agent stops and disables the unit and removes what it made; a file that stood there before comes back as it was.
    With `deletionPolicy: orphan` the unit stays and runs on, no longer managed.

    \b
    Examples:
      tambourine delete hello
      tambourine delete -f services/
      tambourine delete hello --ignore-not-found

    \b
    Exit codes: 0 gone, 1 not there, or not gone in time, 2 it is managed elsewhere, 4 Bombshell cannot be reached.
    """
    from tambourinefs.cli.host.local import check_local, not_found
    from tambourinefs.cli.host.sources import read_all

    check_local(namespace, names, "delete")
    wanted = [*names, *(source.manifest.metadata.name for source in read_all(files))]
    if not wanted:
        raise click.UsageError("say which: a NAME, or -f FILE")
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
            code = wait_and_tell(client, goals, timeout=timeout)
    ctx.exit(code)


def remove(client: Client, name: str) -> Goal | None:
    """Remove the manifest of `local/<name>`, then what lies beside it; None where there was none.

    Of what lies beside it only what was there before goes: somebody may be applying it anew at this moment.

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
    """The uid that the agent reports; None where it lists no such service, "" where it cannot be asked."""
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
