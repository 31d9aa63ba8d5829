"""start, stop, restart and reload, as both programs have them: an edit of spec.command."""

from __future__ import annotations

from typing import Final, Literal

from tambourinefs.errors import InvalidManifest

Verb = Literal["start", "stop", "restart", "reload"]
# Carried out once for each spec.commandID; start and stop are states.
ONE_SHOT: Final = ("restart", "reload")

SUMMARY: Final[dict[Verb, str]] = {
    "start": "Start services, now and at boot.",
    "stop": "Stop services, now and at boot.",
    "restart": "Restart services, once.",
    "reload": "Reload the configuration of services, once.",
}
_EFFECT: Final[dict[Verb, str]] = {
    "start": """Sets spec.command to start: the agent starts the unit, and enables it where the manifest contains the
    unit and does not set `enabled`. This also starts a service that was stopped with systemctl.""",
    "stop": """Sets spec.command to stop: the agent stops the unit, and disables it where the manifest contains the
    unit and does not set `enabled`. The unit stays installed.""",
    "restart": """Sets spec.command to restart with a new commandID: the agent restarts the unit once, even if the agent
    itself restarts meanwhile. A unit that is not running is started.""",
    "reload": """Sets spec.command to reload with a new commandID: the agent reloads the unit (ExecReload=) once; its
    process keeps running.""",
}


def help_text(verb: Verb, *, waits: str, examples: str, exit_codes: str) -> str:
    """--help of one command."""
    lines = "\n".join(f"      {line}" for line in examples.format(verb=verb).splitlines())
    return f"""{SUMMARY[verb]}

    {" ".join(_EFFECT[verb].split())}

    {waits}

    \b
    Examples:
{lines}

    \b
    Exit codes: {exit_codes}
    """


def check_installed(state: object, verb: str, *, source: str) -> None:
    """Raises InvalidManifest where spec.state is absent."""
    if state == "absent":
        raise InvalidManifest(
            f"cannot {verb} a service whose state is absent",
            source=source,
            field="spec.state",
            hint="apply the manifest with state: installed",
        )
