"""`tambourine doctor`: everything that this host needs for Tambourine, one line each, and what mends it."""

from __future__ import annotations

import json
import textwrap
from collections import Counter
from typing import TYPE_CHECKING, Final

import click

from tambourinefs import __version__
from tambourinefs.cli.common.text import counted
from tambourinefs.model import paths

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tambourinefs.doctor.finding import Finding, State

FORMAT: Final = 1  # of --json; raised when a program that reads it would break
_COLOURS: Final[dict[str, str]] = {"warning": "yellow", "error": "red", "unknown": "cyan"}
_WIDTH: Final = 110
_STATE: Final = 9
_CHECK: Final = 15


@click.command(short_help="Look at everything Tambourine needs; say what mends it.")
@click.option("--json", "as_json", is_flag=True, help="For programs; see below.")
@click.option(
    "--config",
    "config_file",
    envvar="TAMBOURINE_CONFIG",
    default=str(paths.CONFIG),
    show_default=True,
    metavar="FILE",
    help="The host's configuration [env: TAMBOURINE_CONFIG].",
)
@click.pass_context
def doctor(ctx: click.Context, *, as_json: bool, config_file: str) -> None:
    """Look at everything that Tambourine needs on this host, and say of what is wrong which command mends it.

    It changes nothing, works when everything is broken, and waits for nobody longer than some seconds. As root it sees
    all; as another user it says of the rest that it needs root. A command under a line is to be run as root, as it
    stands.

    \b
    States:
      ok        as it should be
      unknown   could not be seen: it needs root, or whoever knows does not answer
      warning   everything works; something is missing, or will be
      error     something does not work

    \b
    Examples:
      tambourine doctor
      tambourine doctor --json | jq -r '.findings[] | select(.state == "error") | .command'

    --json prints {"format": 1, "version", "state", "findings": [{"check", "state", "says", "command"}]}: state is the
    worst of all; check is a fixed word, and several findings may share one; command is "" where there is none. Fields may
    be added; one that goes or changes its meaning raises format.

    \b
    Exit codes: 0 no error (there may be warnings), 1 an error, 2 the usage is wrong.
    """
    from tambourinefs.doctor.examination import examine
    from tambourinefs.doctor.finding import worst

    findings = examine(config_file)
    state = worst(findings)
    if as_json:
        click.echo(to_json(findings, state))
    else:
        for line in page(findings):
            click.echo(line)
    ctx.exit(1 if state == "error" else 0)


def to_json(findings: Sequence[Finding], state: State) -> str:
    """The documented shape."""
    listed = [
        {"check": one.check, "state": one.state, "says": one.says, "command": one.command}
        for one in findings
    ]
    whole = {"format": FORMAT, "version": __version__, "state": state, "findings": listed}
    return json.dumps(whole, indent=2, ensure_ascii=False)


def page(findings: Sequence[Finding]) -> list[str]:
    """The lines for a person: aligned, and a command below what it mends."""
    lines = []
    for one in findings:
        first, *rest = textwrap.wrap(
            one.says, _WIDTH - _STATE - _CHECK, break_on_hyphens=False
        ) or [""]
        state, colour = one.state.ljust(_STATE), _COLOURS.get(one.state)
        state = click.style(state, fg=colour) if colour else state
        lines.append(f"{state}{one.check.ljust(_CHECK)}{first}")
        margin = " " * (_STATE + _CHECK)
        lines += [margin + line for line in rest]
        if one.command:  # never cut or wrapped: it is to be copied
            lines.append(f"{margin}$ {one.command}")
    return [*lines, "", summary(findings)]


def summary(findings: Sequence[Finding]) -> str:
    """The last line."""
    counts = Counter(one.state for one in findings)
    bad = [counted(counts[state], state) for state in ("error", "warning") if counts[state]]
    if counts["unknown"]:
        bad.append(f"{counts['unknown']} unknown")
    return ", ".join(bad) if bad else "all is well"
