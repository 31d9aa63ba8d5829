"""`tambourine doctor`: checks the host, one line a check, and prints the commands that fix problems."""

from __future__ import annotations

import json
import textwrap
from collections import Counter
from typing import TYPE_CHECKING, Final

import click

from tambourinefs import __version__
from tambourinefs.cli.admin.options import config_option
from tambourinefs.cli.common.text import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tambourinefs.doctor.check import Finding, FindingState

FORMAT: Final = 1  # of --json; raised when a program that reads it would break
_COLOURS: Final[dict[str, str]] = {"warning": "yellow", "error": "red", "unknown": "cyan"}
_WIDTH: Final = 110
_STATE: Final = 9
_CHECK: Final = 15


@click.command(short_help="Check the host and print how to fix what is wrong.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON; the format is described below.")
@config_option
@click.pass_context
def doctor(ctx: click.Context, *, as_json: bool, config_file: str) -> None:
    """Check everything that Tambourine needs on this host, and print a command that fixes what is wrong.

    It changes nothing, works while all daemons are down, and every check ends after some seconds. Some checks need
    root; for other users their state is "unknown". The command below a line can be run as root as it stands.

    \b
    States:
      ok        no problem
      unknown   the check needs root, or the program that it asks does not answer
      warning   everything works, but something is missing or will fail soon
      error     something does not work

    \b
    Examples:
      tambourine doctor
      tambourine doctor --json | jq -r '.findings[] | select(.state == "error") | .command'

    --json prints {"format": 1, "version", "state", "findings": [{"check", "state", "message", "command"}]}.
    "state" is the worst state of all findings. "check" is a stable identifier; several findings may share one. "command"
    is "" where no command helps. New fields may be added; a field that is removed or changes its meaning raises
    "format".

    \b
    Exit codes: 0 no error (warnings are possible), 1 at least one error, 2 usage error.
    """
    from tambourinefs.doctor.check import worst
    from tambourinefs.doctor.checks import run_checks

    findings = run_checks(config_file)
    state = worst(findings)
    if as_json:
        click.echo(to_json(findings, state))
    else:
        for line in page(findings):
            click.echo(line)
    ctx.exit(1 if state == "error" else 0)


def to_json(findings: Sequence[Finding], state: FindingState) -> str:
    """The format that the help text documents."""
    listed = [
        {"check": one.check, "state": one.state, "message": one.message, "command": one.command}
        for one in findings
    ]
    whole = {"format": FORMAT, "version": __version__, "state": state, "findings": listed}
    return json.dumps(whole, indent=2, ensure_ascii=False)


def page(findings: Sequence[Finding]) -> list[str]:
    """The output as aligned lines, with the command below the problem that it fixes."""
    lines = []
    for one in findings:
        first, *rest = textwrap.wrap(
            one.message, _WIDTH - _STATE - _CHECK, break_on_hyphens=False
        ) or [""]
        state, colour = one.state.ljust(_STATE), _COLOURS.get(one.state)
        state = click.style(state, fg=colour) if colour else state
        lines.append(f"{state}{one.check.ljust(_CHECK)}{first}")
        margin = " " * (_STATE + _CHECK)
        lines += [margin + line for line in rest]
        if one.command:  # not wrapped, so that it can be copied
            lines.append(f"{margin}$ {one.command}")
    return [*lines, "", summary(findings)]


def summary(findings: Sequence[Finding]) -> str:
    """The last line."""
    counts = Counter(one.state for one in findings)
    bad = [counted(counts[state], state) for state in ("error", "warning") if counts[state]]
    if counts["unknown"]:
        bad.append(f"{counts['unknown']} unknown")
    return ", ".join(bad) if bad else "no problems found"
