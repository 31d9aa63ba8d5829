"""`tambourine logs`: the journal's last lines of a service's current invocation, and the new ones as they come."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import click

from tambourinefs.cli.host.connection import Host, host_options, read_proc
from tambourinefs.cli.host.options import name_argument, namespace_option
from tambourinefs.cli.host.wait import Bell, check_patience
from tambourinefs.errors import NotFound, Unreachable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tambourinefs.rpc.client import Client

_LOOK_SECONDS: Final = 1.0
GAP: Final = "-- lines may be missing here --"


@click.command(short_help="Show the last lines that a service logged.")
@name_argument()
@click.option("-f", "--follow", is_flag=True, help="Go on: print new lines as they come.")
@click.option("-l", "--lines", type=click.IntRange(1), help="At most so many lines.")
@namespace_option
@host_options
def logs(*, name: str, follow: bool, lines: int | None, namespace: str, host: Host) -> None:
    """Show the last lines that a service logged in its current (or last) invocation.

    They come from /run/tambourine/proc/NAMESPACE/NAME/journal, which the agent keeps: the last lines, not the history.
    With -f a line may be missed when very many come at once; that is said. The whole journal is journalctl's:
    `journalctl -u hello -f`.

    \b
    Examples:
      tambourine logs hello
      tambourine logs hello -l 3
      tambourine logs hello -f

    \b
    Exit codes: 0 shown, 1 the service is not there, 4 Bombshell or the agent cannot be reached.
    """
    path = f"{namespace}/{name}/journal"
    with host.connect() as client:
        try:
            known = _read(client, path)
        except NotFound as error:
            hint = "tambourine get -A lists all there are"
            raise NotFound(f"tambourine/{name} not found in {namespace}", hint=hint) from error
        for line in known[-lines:] if lines else known:
            click.echo(line)
        if follow:
            for line in follow_lines(client, path, known):
                click.echo(line)


def follow_lines(client: Client, path: str, known: Sequence[str]) -> Iterator[str]:
    """The lines that come after `known`, until the service is removed.

    Raises Unreachable once nobody has answered for some seconds.
    """
    answered = time.monotonic()
    with Bell(client, path) as bell:
        while True:
            bell.clear()
            try:
                now = _read(client, path)
            except NotFound:
                return
            except Unreachable as error:
                check_patience(error, answered)
            else:
                answered = time.monotonic()
                yield from new_lines(known, now)
                known = now
            bell.wait(_LOOK_SECONDS)


def new_lines(known: Sequence[str], now: Sequence[str]) -> list[str]:
    """What of `now`, a window on a growing list, was not yet in the window `known`; GAP first where they do not touch."""
    for overlap in range(min(len(known), len(now)), 0, -1):
        if list(known[-overlap:]) == list(now[:overlap]):
            return list(now[overlap:])
    return [GAP, *now] if known and now else list(now)


def _read(client: Client, path: str) -> list[str]:
    return read_proc(client, path).decode(errors="replace").splitlines()
