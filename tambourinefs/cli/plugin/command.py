"""`kubectl tambourine start | stop | restart | reload`: an edit of spec.command, rolled out as any other."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import click

from tambourinefs.cli.common.commands import ONE_SHOT, SUMMARY, help_text
from tambourinefs.cli.common.outcome import wait_options
from tambourinefs.cli.plugin.options import DEFAULT_TIMEOUT, name_argument, target_options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tambourinefs.cli.common.commands import Verb
    from tambourinefs.cli.common.goal import Goal
    from tambourinefs.cli.plugin.objects import TambourineObject
    from tambourinefs.cli.plugin.target import ClusterTarget
    from tambourinefs.kube.api import Api

_WAITS = """Each node does so once; a node that is away does so when it is back. It is rolled out as any edit: on at most
    spec.rollout.maxUnavailable nodes at once, and not further when one fails. Waits until all nodes are ready."""
_EXAMPLES = """kubectl tambourine {verb} alice-zfs
kubectl tambourine {verb} web worker -n storage --timeout 2m
kubectl tambourine {verb} alice-zfs --no-wait"""
_EXIT_CODES = """0 ready, 1 not ready (prints the nodes, the reason and the last journal lines), 2 wrong usage,
    3 refused by the cluster or by a host, 4 the API server or the controller cannot be reached."""


def _make(verb: Verb) -> click.Command:
    text = help_text(verb, waits=_WAITS, examples=_EXAMPLES, exit_codes=_EXIT_CODES)

    @click.command(verb, short_help=SUMMARY[verb], help=text)
    @name_argument(many=True)
    @wait_options(DEFAULT_TIMEOUT)
    @target_options
    @click.pass_context
    def command(
        ctx: click.Context,
        *,
        names: Sequence[str],
        no_wait: bool,
        timeout: float,
        target: ClusterTarget,
    ) -> None:
        from tambourinefs.cli.plugin.watching import wait_for

        api, namespace = target.connect(), target.namespace
        goals = [write_command(api, namespace, name, verb) for name in dict.fromkeys(names)]
        if not no_wait:
            ctx.exit(wait_for(api, goals, timeout=timeout))
        for goal in goals:
            click.echo(f"{goal} configured")

    return command


def write_command(api: Api, namespace: str, name: str, verb: Verb) -> Goal:
    """Set spec.command, retried on a conflict.

    Raises NotFound; InvalidManifest where spec.state is absent; Conflict after repeated conflicts; Forbidden.
    """
    from tambourinefs.cli.plugin.edit import edit

    command_id = str(uuid.uuid4())
    goal = edit(api, namespace, name, lambda service: patch(service, verb, command_id), verb)
    return goal._replace(command_id=command_id) if verb in ONE_SHOT else goal


def patch(service: TambourineObject, verb: Verb, command_id: str) -> dict[str, Any]:
    """The change of the spec. Pure.

    A start or stop that equals the last command gets a commandID too: it has no effect of its own, but makes a new
    generation, so that the agent starts or stops the unit again.
    """
    again = service.spec.get("command") == verb
    return {"command": verb, "commandID": command_id if verb in ONE_SHOT or again else None}


start = _make("start")
stop = _make("stop")
restart = _make("restart")
reload = _make("reload")
