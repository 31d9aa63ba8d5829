"""`tambourine config`: the effective configuration of this host, and the origin of each value."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from tambourinefs.cli.admin.options import config_option

if TYPE_CHECKING:
    from tambourinefs.model.config import Effective

_WIDTH: Final = 100  # characters


@click.group(
    invoke_without_command=True,
    short_help="Show the effective configuration of this host.",
)
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON: {key: {value, origin}}.")
@click.pass_context
def config(ctx: click.Context, *, config_file: str, as_json: bool) -> None:
    """Show the effective configuration of this host, and the file that each value comes from.

    Read from /etc/tambourine/config.toml, then from /etc/tambourine/config.d/*.toml in lexical order; the last file that
    sets a key wins. Keys that no file sets have their default. The shipped config.toml documents every key.

    \b
    Examples:
      tambourine config
      tambourine config --json | jq '."agent.namespaces"'
      tambourine config check new.toml          check a file before installing it

    \b
    Exit codes: 0 success, 2 invalid configuration (prints file and key).
    """
    if ctx.invoked_subcommand is not None:
        return
    from tambourinefs.configfile import load

    effective = load(config_file)
    click.echo(_json(effective) if as_json else "\n".join(lines(effective)))


@config.command(short_help="Check a configuration file.")
@click.argument("file", type=click.Path(exists=True, dir_okay=False))
def check(file: str) -> None:
    """Check one configuration file: syntax, keys, values.

    \b
    Examples:
      tambourine config check new.toml && install -m 0644 new.toml /etc/tambourine/config.d/50-new.toml

    \b
    Exit codes: 0 valid, 2 invalid (prints the key and the reason).
    """
    from tambourinefs.configfile import read
    from tambourinefs.model.config import merge

    merge([(file, read(Path(file)))])
    click.echo(f"{file}: valid")


def lines(effective: Effective) -> list[str]:
    """`key = value  # origin`: TOML with dotted keys; a long array takes several lines."""
    found = []
    for key, value in effective.values().items():
        head, *rest = toml(value)
        found += [f"{key} = {head}  # {effective.origins[key]}", *rest]
    return found


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
