"""`kubectl tambourine start | stop | restart | reload`: an edit of spec.command, carried to the nodes as any other."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any, Final, Literal

import click

from tambourinefs.cli.plugin.options import name_argument, target_options
from tambourinefs.cli.plugin.target import Target
from tambourinefs.cli.plugin.waiting import wait_options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tambourinefs.cli.common.verdict import Goal
    from tambourinefs.cli.plugin.objects import Service
    from tambourinefs.kube.api import Api

Verb = Literal["start", "stop", "restart", "reload"]
_ONE_SHOT: Final = ("restart", "reload")

_HELP: Final[dict[Verb, tuple[str, str]]] = {
    "start": (
        "Start services on all their nodes, now and at boot.",
        """Sets spec.command to start. Where the Tambourine brings the unit and says nothing of `enabled`, it is enabled
        too. One that a person stopped with systemctl on a host is started again.""",
    ),
    "stop": (
        "Stop services on all their nodes, now and at boot.",
        """Sets spec.command to stop. Where the Tambourine brings the unit and says nothing of `enabled`, it is disabled
        too. The unit stays installed.""",
    ),
    "restart": (
        "Restart services on all their nodes, once.",
        """Sets spec.command to restart with a new commandID: each node does it once, whatever is restarted meanwhile. A
        node that was away does it when it is back.""",
    ),
    "reload": (
        "Have services read their configuration again, once.",
        """Sets spec.command to reload with a new commandID: each node has systemd reload the unit (ExecReload=) once; its
        process stays.""",
    ),
}


def _make(verb: Verb) -> click.Command:
    summary, what = _HELP[verb]
    text = f"""{summary}

    {" ".join(what.split())}

    It goes over the nodes as an edit does: at most spec.rollout.maxUnavailable at once, no further when one fails. It
    waits until all of them are as asked.

    \b
    Examples:
      kubectl tambourine {verb} alice-zfs
      kubectl tambourine {verb} web worker -n storage --timeout 2m
      kubectl tambourine {verb} alice-zfs --no-wait

    \b
    Exit codes: 0 as asked, 1 it is not (the nodes, the reason and the last lines of the journal are told), 2 wrong usage,
    3 refused by the cluster or by a host, 4 the API server or the controller cannot be reached.
    """

    @click.command(verb, short_help=summary, help=text)
    @name_argument(many=True)
    @wait_options
    @target_options
    @click.pass_context
    def command(
        ctx: click.Context, *, names: Sequence[str], no_wait: bool, timeout: float, target: Target
    ) -> None:
        from tambourinefs.cli.plugin.waiting import wait_and_tell

        api, namespace = target.connect(), target.namespace
        goals = [order(api, namespace, name, verb) for name in dict.fromkeys(names)]
        for goal in goals if no_wait else ():
            click.echo(f"{goal} configured")
        ctx.exit(0 if no_wait else wait_and_tell(api, goals, timeout=timeout))

    return command


def order(api: Api, namespace: str, name: str, verb: Verb) -> Goal:
    """Write the command, provided that nobody wrote anything since it was read; else read anew.

    Raises NotFound; InvalidManifest where it is to be absent; Conflict when others write all the time; Forbidden.
    """
    from tambourinefs.cli.plugin.edit import edit

    command_id = str(uuid.uuid4())
    goal = edit(api, namespace, name, lambda service: patch(service, verb, command_id), verb)
    return goal._replace(command_id=command_id) if verb in _ONE_SHOT else goal


def patch(service: Service, verb: Verb, command_id: str) -> dict[str, Any]:
    """What changes of the spec. Pure.

    A start or stop that reads like the last one gets a commandID too: without effect of its own, it makes a new
    generation, and so a new order.
    """
    again = service.spec.get("command") == verb
    return {"command": verb, "commandID": command_id if verb in _ONE_SHOT or again else None}


start = _make("start")
stop = _make("stop")
restart = _make("restart")
reload = _make("reload")
