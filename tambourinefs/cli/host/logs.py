"""`tambourine logs`: the last journal lines of a service's current invocation, and new ones as they arrive."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

import click

from tambourinefs.cli.common.wait import LAST_PAUSE, readings
from tambourinefs.cli.host.connection import Connection, host_options, read_proc
from tambourinefs.cli.host.local import missing
from tambourinefs.cli.host.options import name_argument, namespace_option
from tambourinefs.cli.host.watching import PATIENCE, ProcWatch
from tambourinefs.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tambourinefs.rpc.client import Client

GAP: Final = "-- lines may be missing here --"


@click.command(short_help="Show the last journal lines of a service.")
@name_argument()
@click.option("-f", "--follow", is_flag=True, help="Print new lines as they arrive.")
@click.option("-l", "--lines", type=click.IntRange(1), help="Maximum number of lines.")
@namespace_option
@host_options
def logs(*, name: str, follow: bool, lines: int | None, namespace: str, host: Connection) -> None:
    """Show the last lines that a service logged in its current (or last) invocation.

    They come from /run/tambourine/proc/NAMESPACE/NAME/journal, where the agent keeps the last lines. With -f, lines may be
    missed when many arrive at once; a marker is printed in their place. For the whole journal, use journalctl:
    `journalctl -u hello -f`.

    \b
    Examples:
      tambourine logs hello
      tambourine logs hello -l 3
      tambourine logs hello -f

    \b
    Exit codes: 0 success, 1 service not found, 4 Bombshell or the agent cannot be reached.
    """
    path = f"{namespace}/{name}/journal"
    with host.connect() as client:
        try:
            known = _read(client, path)
        except NotFound as error:
            raise missing(name, namespace) from error
        for line in known[-lines:] if lines else known:
            click.echo(line)
        if follow:
            for line in follow_lines(client, path, known):
                click.echo(line)


def follow_lines(client: Client, path: str, known: Sequence[str]) -> Iterator[str]:
    """The lines that come after `known`, until the service is removed.

    Raises Unreachable once Bombshell or the agent has not answered for some seconds.
    """
    with ProcWatch(client, path) as watch, contextlib.suppress(NotFound):
        for now in readings(
            watch.changed, lambda: _read(client, path), PATIENCE, first_pause=LAST_PAUSE
        ):
            yield from new_lines(known, now)
            known = now


def new_lines(known: Sequence[str], now: Sequence[str]) -> list[str]:
    """The lines of `now`, a window on a growing list, after those of `known`; GAP first where they do not overlap."""
    for overlap in range(min(len(known), len(now)), 0, -1):
        if list(known[-overlap:]) == list(now[:overlap]):
            return list(now[overlap:])
    return [GAP, *now] if known and now else list(now)


def _read(client: Client, path: str) -> list[str]:
    return read_proc(client, path).decode(errors="replace").splitlines()
