"""`tambourine config`: the configuration that holds on this host, and where each value came from."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from tambourinefs.model import paths

if TYPE_CHECKING:
    from tambourinefs.model.config import Effective

_WIDTH: Final = 100  # characters


@click.group(
    invoke_without_command=True,
    short_help="Show this host's configuration and where it comes from.",
)
@click.option(
    "--config",
    "path",
    envvar="TAMBOURINE_CONFIG",
    default=str(paths.CONFIG),
    show_default=True,
    metavar="FILE",
    help="The main file; config.d/*.toml beside it is read after it [env: TAMBOURINE_CONFIG].",
)
@click.option("--json", "as_json", is_flag=True, help="For programs: {key: {value, origin}}.")
@click.pass_context
def config(ctx: click.Context, *, path: str, as_json: bool) -> None:
    """Show the configuration that holds on this host, key by key, and the file that each value came from.

    It is read from /etc/tambourine/config.toml, then from config.d/*.toml beside it in the order of their names; the last
    one to name a key decides. What no file names is the default. The shipped config.toml explains every key.

    \b
    Examples:
      tambourine config
      tambourine config --json | jq '."agent.namespaces"'
      tambourine config check new.toml          is this file one that would be taken?

    \b
    Exit codes: 0 shown, 2 a file is wrong (which, and which key, is said).
    """
    if ctx.invoked_subcommand is not None:
        return
    from tambourinefs.configfile import load

    effective = load(path)
    click.echo(_json(effective) if as_json else "\n".join(lines(effective)))


@config.command(short_help="Check a file before it is put in place.")
@click.argument("file", type=click.Path(exists=True, dir_okay=False))
def check(file: str) -> None:
    """Check one configuration file by itself: syntax, keys, values.

    \b
    Examples:
      tambourine config check new.toml && install -m 0644 new.toml /etc/tambourine/config.d/50-new.toml

    \b
    Exit codes: 0 good, 2 wrong (which key, and why, is said).
    """
    from tambourinefs.configfile import read
    from tambourinefs.model.config import merge

    merge([(file, read(Path(file)))])
    click.echo(f"{file}: good")


def lines(effective: Effective) -> list[str]:
    """`key = value  # origin`: TOML with dotted keys; a long array goes over several lines."""
    told = []
    for key, value in effective.values().items():
        head, *rest = toml(value)
        told += [f"{key} = {head}  # {effective.origins[key]}", *rest]
    return told


def toml(value: object) -> list[str]:
    """A value as TOML writes it, in lines: JSON's strings, numbers, booleans and arrays are TOML's, too."""
    text = json.dumps(value, ensure_ascii=False)
    if len(text) <= _WIDTH or not isinstance(value, list | tuple):
        return [text]
    inside = ", ".join(json.dumps(item, ensure_ascii=False) for item in value)
    wrapped = textwrap.wrap(inside, _WIDTH, break_long_words=False, break_on_hyphens=False)
    return ["[", *(f"  {line}" for line in wrapped), "]"]


def _json(effective: Effective) -> str:
    whole = {
        key: {"value": value, "origin": effective.origins[key]}
        for key, value in effective.values().items()
    }
    return json.dumps(whole, indent=2, ensure_ascii=False)
