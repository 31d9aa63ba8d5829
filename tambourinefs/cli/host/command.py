"""`tambourine start | stop | restart | reload`: an edit of spec.command in the manifest, which lasts over a reboot."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import click
import msgspec

from tambourinefs.cli.common.commands import ONE_SHOT, SUMMARY, check_installed, help_text
from tambourinefs.cli.common.outcome import wait_options
from tambourinefs.cli.host.connection import LOCAL, Connection, host_options
from tambourinefs.cli.host.options import DEFAULT_TIMEOUT, name_argument, namespace_option

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tambourinefs.cli.common.commands import Verb
    from tambourinefs.cli.common.goal import Goal
    from tambourinefs.model.manifest import Manifest
    from tambourinefs.rpc.client import Client

_WAITS = (
    "Waits until the service is ready. Services that are managed in Kubernetes are read-only here."
)
_EXAMPLES = """tambourine {verb} hello
tambourine {verb} web worker --timeout 30s
tambourine {verb} hello --no-wait"""
_EXIT_CODES = """0 ready, 1 not ready (prints the reason and the last journal lines), 2 managed in Kubernetes,
    3 refused by the host's policy, 4 Bombshell or the agent cannot be reached."""


def _make(verb: Verb) -> click.Command:
    text = help_text(verb, waits=_WAITS, examples=_EXAMPLES, exit_codes=_EXIT_CODES)

    @click.command(verb, short_help=SUMMARY[verb], help=text)
    @name_argument(many=True)
    @namespace_option
    @wait_options(DEFAULT_TIMEOUT)
    @host_options
    @click.pass_context
    def command(
        ctx: click.Context,
        *,
        names: Sequence[str],
        namespace: str,
        no_wait: bool,
        timeout: float,
        host: Connection,
    ) -> None:
        from tambourinefs.cli.host.local import check_local
        from tambourinefs.cli.host.watching import wait_for

        check_local(namespace, names, verb)
        with host.connect() as client:
            goals = [_command(client, verb, name) for name in dict.fromkeys(names)]
            if not no_wait:
                ctx.exit(wait_for(client, goals, timeout=timeout))
            for goal in goals:
                click.echo(f"{goal} configured")

    return command


def commanded(manifest: Manifest, verb: Verb, command_id: str) -> Manifest:
    """The manifest with the command as its next generation, also when the command is the same as before."""
    from tambourinefs.cli.host.edit import raised

    spec = msgspec.structs.replace(
        manifest.spec, command=verb, command_id=command_id if verb in ONE_SHOT else ""
    )
    return raised(msgspec.structs.replace(manifest, spec=spec))


def _command(client: Client, verb: Verb, name: str) -> Goal:
    from tambourinefs.cli.host.edit import edit
    from tambourinefs.cli.host.local import not_found

    command_id = str(uuid.uuid4())

    def change(stored: Manifest | None) -> Manifest:
        if stored is None:
            raise not_found(client, name, verb)
        check_installed(stored.spec.state, verb, source=f"{LOCAL}/{name}")
        return commanded(stored, verb, command_id)

    goal = edit(client, name, change).goal
    return goal._replace(command_id=command_id) if verb in ONE_SHOT else goal


start = _make("start")
stop = _make("stop")
restart = _make("restart")
reload = _make("reload")
