"""`tambourine apply` and `tambourine diff`: manifests to the silo."""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING

import click

from tambourinefs.cli.common.outcome import wait_options
from tambourinefs.cli.host.connection import Connection, host_options
from tambourinefs.cli.host.options import DEFAULT_TIMEOUT, file_options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tambourinefs.cli.common.goal import Goal
    from tambourinefs.cli.host.sources import Source
    from tambourinefs.model.manifest import Manifest
    from tambourinefs.rpc.client import Client


@click.command(
    short_help="Install or change services from manifests, and wait until they are ready."
)
@file_options
@click.option("--dry-run", is_flag=True, help="Print what would change; write nothing.")
@wait_options(DEFAULT_TIMEOUT)
@host_options
@click.pass_context
def apply(
    ctx: click.Context,
    *,
    files: Sequence[str],
    recursive: bool,
    dry_run: bool,
    no_wait: bool,
    timeout: float,
    host: Connection,
) -> None:
    """Install or change services from manifests, and wait until they are ready.

    All manifests are read and checked before the first one is written. Bombshell writes each to the silo atomically; the
    agent then creates the systemd unit. A manifest that is equal to the stored one is not written ("unchanged"). The
    namespace is local and may be omitted; uid and generation are set by this command.

    Files that `files[].contentFrom` names are uploaded from the manifest's directory before the manifest.

    \b
    Examples:
      tambourine apply -f hello.yaml
      tambourine apply -f services/ -f extra.yaml       every manifest in a directory, and one more
      sed s/8080/8081/ hello.yaml | tambourine apply -f -
      tambourine apply -f hello.yaml --dry-run          show what would change; see also: tambourine diff
      tambourine apply -f hello.yaml --no-wait          return once it is stored on disk

    \b
    A first manifest:
      apiVersion: tambourine.dev/v1alpha1
      kind: Tambourine
      metadata: {name: hello}
      spec:
        name: hello
        state: installed
        command: start
        unit: |
          [Service]
          ExecStart=/usr/bin/sleep infinity
          [Install]
          WantedBy=multi-user.target

    \b
    Exit codes: 0 ready, 1 a service is not ready (prints the reason and the last journal lines), 2 invalid manifest,
    3 refused by the host's policy, 4 Bombshell or the agent cannot be reached.
    """
    from tambourinefs.cli.host.sources import read_all
    from tambourinefs.cli.host.watching import wait_for

    sources = read_all(files, recursive=recursive)
    with host.connect() as client:
        if dry_run:
            _dry_run(client, sources)
            return
        goals = _apply_all(client, sources)
        if not no_wait:
            ctx.exit(wait_for(client, goals, timeout=timeout))


def _apply_all(client: Client, sources: Sequence[Source]) -> list[Goal]:
    """Payload first, manifest last, one service after the other."""
    from tambourinefs.cli.host.edit import edit
    from tambourinefs.cli.host.payload import missing, upload

    # For all of them before the first write: a wrong payload changes nothing.
    payloads = [missing(client, source) for source in sources]
    goals = []
    for source, needed in zip(sources, payloads, strict=True):
        wanted = source.manifest
        for payload in needed:
            upload(client, payload)
        done = edit(client, wanted.metadata.name, partial(_successor, wanted))
        click.echo(f"{done.goal} {done.kind.value}")
        goals.append(done.goal)
    return goals


def _successor(wanted: Manifest, stored: Manifest | None) -> Manifest:
    from tambourinefs.cli.host.edit import successor

    return successor(stored, wanted)


def _dry_run(client: Client, sources: Sequence[Source]) -> None:
    from tambourinefs.cli.host.edit import planned
    from tambourinefs.cli.host.payload import missing

    for source in sources:
        missing(client, source)
        done = planned(client, source.manifest)
        click.echo(f"{done.goal} {done.kind.value} (dry run)")


@click.command(short_help="Show what apply would change, as a unified diff.")
@file_options
@host_options
@click.pass_context
def diff(ctx: click.Context, *, files: Sequence[str], recursive: bool, host: Connection) -> None:
    """Show what `tambourine apply` would change, as a unified diff of the manifests.

    The manifest in the silo is on the left, the file on the right, both normalised.

    \b
    Examples:
      tambourine diff -f hello.yaml
      tambourine diff -f services/ | less -R

    \b
    Exit codes: 0 no differences, 1 differences, 2 invalid manifest, 4 Bombshell cannot be reached.
    """
    from tambourinefs.cli.host.edit import read_stored
    from tambourinefs.cli.host.sources import read_all
    from tambourinefs.cli.host.yamltext import manifest_diff

    different = False
    with host.connect() as client:
        for source in read_all(files, recursive=recursive):
            stored = read_stored(client, source.manifest.metadata.name)
            lines = manifest_diff(
                stored.manifest if stored else None, source.manifest, source.origin
            )
            different |= bool(lines)
            _show(lines)
    ctx.exit(1 if different else 0)


def _show(lines: Sequence[str]) -> None:
    colours = {"+": "green", "-": "red", "@": "cyan"}
    for line in lines:
        colour = colours.get(line[:1]) if sys.stdout.isatty() else None
        click.echo(click.style(line, fg=colour) if colour else line)
