"""`tambourine start | stop | restart | reload`: an edit of spec.command in the manifest, which outlives us and a reboot."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Final, Literal

import click
import msgspec

from tambourinefs.cli.host.connection import LOCAL, Host, host_options
from tambourinefs.cli.host.options import name_argument, namespace_option
from tambourinefs.cli.host.outcome import wait_and_tell, wait_options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tambourinefs.cli.common.verdict import Goal
    from tambourinefs.model.manifest import Manifest
    from tambourinefs.rpc.client import Client

Verb = Literal["start", "stop", "restart", "reload"]
_ONE_SHOT: Final = ("restart", "reload")

_HELP: Final[dict[Verb, tuple[str, str]]] = {
    "start": (
        "Start services, now and at boot.",
        """Sets spec.command to start: the agent starts the unit, and, where the manifest brings the unit and says nothing
        of `enabled`, enables it. A service that a person stopped with systemctl is started again.""",
    ),
    "stop": (
        "Stop services, now and at boot.",
        """Sets spec.command to stop: the agent stops the unit, and, where the manifest brings the unit and says nothing of
        `enabled`, disables it. The unit stays installed.""",
    ),
    "restart": (
        "Restart services, once.",
        """Sets spec.command to restart with a new commandID: the agent restarts the unit once, also when it is itself
        restarted meanwhile. One that is not running is started.""",
    ),
    "reload": (
        "Have services read their configuration again, once.",
        """Sets spec.command to reload with a new commandID: the agent has systemd reload the unit (ExecReload=) once; its
        process stays.""",
    ),
}


def _make(verb: Verb) -> click.Command:
    summary, what = _HELP[verb]
    text = f"""{summary}

    {" ".join(what.split())}

    It waits until the service is as asked. A service that is managed in Kubernetes is read-only here.

    \b
    Examples:
      tambourine {verb} hello
      tambourine {verb} web worker --timeout 30s
      tambourine {verb} hello --no-wait

    \b
    Exit codes: 0 as asked, 1 it is not (the reason and the journal's last lines are told), 2 it is managed elsewhere,
    3 the host's policy refuses it, 4 Bombshell or the agent cannot be reached.
    """

    @click.command(verb, short_help=summary, help=text)
    @name_argument(many=True)
    @namespace_option
    @wait_options
    @host_options
    @click.pass_context
    def command(
        ctx: click.Context,
        *,
        names: Sequence[str],
        namespace: str,
        no_wait: bool,
        timeout: float,
        host: Host,
    ) -> None:
        from tambourinefs.cli.host.local import check_local

        check_local(namespace, names, verb)
        with host.connect() as client:
            goals = [_command(client, verb, name) for name in dict.fromkeys(names)]
            for goal in goals if no_wait else ():
                click.echo(f"{goal} configured")
            ctx.exit(0 if no_wait else wait_and_tell(client, goals, timeout=timeout))

    return command


def commanded(manifest: Manifest, verb: Verb, command_id: str) -> Manifest:
    """The manifest with the command, as the next generation: each is a new order, also when it reads like the last one."""
    from tambourinefs.cli.host.edit import raised

    spec = msgspec.structs.replace(
        manifest.spec, command=verb, command_id=command_id if verb in _ONE_SHOT else ""
    )
    return raised(msgspec.structs.replace(manifest, spec=spec))


def _command(client: Client, verb: Verb, name: str) -> Goal:
    from tambourinefs.cli.host.edit import edit
    from tambourinefs.cli.host.local import not_found
    from tambourinefs.errors import InvalidManifest

    command_id = str(uuid.uuid4())

    def change(stored: Manifest | None) -> Manifest:
        if stored is None:
            raise not_found(client, name, verb)
        if stored.spec.state == "absent":
            raise InvalidManifest(
                f"cannot {verb} what is to be absent",
                source=f"{LOCAL}/{name}",
                field="spec.state",
                hint="apply it with state: installed",
            )
        return commanded(stored, verb, command_id)

    goal = edit(client, name, change).goal
    return goal._replace(command_id=command_id) if verb in _ONE_SHOT else goal


start = _make("start")
stop = _make("stop")
restart = _make("restart")
reload = _make("reload")
