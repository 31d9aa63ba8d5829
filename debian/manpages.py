"""Manual pages from the command line's help: `python debian/manpages.py DIR`, at build time.

One page for each command, one for `tambourine` and one for `kubectl tambourine`, and
tambourine.toml(5) from the configuration that is shipped. roff as in man(7).

click-man does not do: it reads Group.commands, which is empty for commands that are imported when
they are used; it fills the lines of examples (click's \\b), does not quote lines that begin with a
dot, and cuts NAME after 45 characters.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click

from tambourinefs import __version__
from tambourinefs.cli import main as host
from tambourinefs.cli.plugin import main as plugin

_SEE: Final = {
    "tambourine": "tambourine.toml(5), kubectl\\-tambourine(1), systemctl(1)",
    "kubectl-tambourine": "tambourine(1)",
}


def pages() -> dict[str, str]:
    """Every page by its file's name."""
    found = {"tambourine.toml.5": _configuration()}
    for name, root in (("tambourine", host.root), ("kubectl-tambourine", plugin.root)):
        for path, command in _commands(name, root):
            found["-".join(path) + ".1"] = _page(path, command)
    return found


def _commands(name: str, root: click.Command) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """The root and its commands; a group's own commands are on its page."""
    yield (name,), root
    if isinstance(root, click.Group):
        context = click.Context(root, info_name=name)
        for sub in root.list_commands(context):
            command = root.get_command(context, sub)
            if command is not None and not command.hidden:
                yield (name, sub), command


def _page(path: tuple[str, ...], command: click.Command) -> str:
    title = "-".join(path)
    lines = [*_head(title, 1, command.get_short_help_str(limit=200).rstrip("."))]
    called = " ".join(path).replace("kubectl-", "kubectl ")
    context = click.Context(command, info_name=called)
    lines += [
        ".SH SYNOPSIS",
        f"\\fB{_text(called)}\\fR {_text(' '.join(command.collect_usage_pieces(context)))}",
    ]
    lines += [".SH DESCRIPTION", *_paragraphs(command.help or "")]
    lines += _options("OPTIONS", context)
    if isinstance(command, click.Group):
        lines += [".SH COMMANDS"]
        for name in command.list_commands(context):
            sub = command.get_command(context, name)
            if sub is None or sub.hidden:
                continue
            short = _text(sub.get_short_help_str(limit=200))
            if len(path) == 1:
                lines += [".TP", f"\\fB{_text(title)}\\-{_text(name)}\\fR(1)", short]
                continue
            below = click.Context(sub, info_name=f"{called} {name}")
            lines += [
                f".SS {_text(called)} {_text(name)} {_text(' '.join(sub.collect_usage_pieces(below)))}"
            ]
            lines += [*_paragraphs(sub.help or ""), *_options("", below)]
    lines += [".SH SEE ALSO", _SEE.get(title, f"{_text(path[0])}(1)")]
    return "\n".join(lines) + "\n"


def _head(title: str, section: int, summary: str) -> list[str]:
    return [
        f'.TH "{_text(title.upper())}" {section} "" "Tambourine {_text(__version__)}" "Tambourine"',
        ".SH NAME",
        f"{_text(title)} \\- {_text(summary)}",
    ]


def _options(heading: str, context: click.Context) -> list[str]:
    records = [
        record
        for parameter in context.command.get_params(context)
        if (record := parameter.get_help_record(context)) is not None
    ]
    lines = [f".SH {heading}"] if records and heading else []
    for option, meaning in records:
        lines += [".TP", f"\\fB{_text(option)}\\fR", _text(" ".join(meaning.split())) or "\\&"]
    return lines


def _paragraphs(text: str) -> Iterator[str]:
    """click's rules: a paragraph that begins with \\b keeps its lines, the others flow."""
    for paragraph in text.replace("\f", "").strip().split("\n\n"):
        lines = paragraph.strip("\n").split("\n")
        yield ".PP"
        if lines[0].strip() == "\b":
            yield ".nf"
            yield from (_text(line) for line in lines[1:])
            yield ".fi"
        else:
            yield _text(" ".join(line.strip() for line in lines))


def _configuration() -> str:
    """tambourine.toml(5): the shipped file, which is all comments."""
    file = Path(__file__).parents[1] / "systemd/config.toml"
    return "\n".join(
        [
            *_head("tambourine.toml", 5, "what Tambourine allows and denies on this host"),
            ".SH DESCRIPTION",
            "The configuration is /etc/tambourine/config.toml and then /etc/tambourine/config.d/*.toml. This is the",
            "file as it is shipped; \\fBtambourine config\\fR prints the effective settings and the file that each comes",
            "from.",
            ".PP",
            ".nf",
            *(_text(line) for line in file.read_text().splitlines()),
            ".fi",
            ".SH SEE ALSO",
            "tambourine(1), tambourine\\-config(1)",
            "",
        ]
    )


def _text(text: str) -> str:
    """Text that roff prints as it is."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-").replace("\b", "")
    escaped = (
        escaped.replace("'", "\\(aq")
        .replace("`", "\\(ga")
        .replace("^", "\\(ha")
        .replace("~", "\\(ti")
    )
    return "\\&" + escaped if escaped.startswith(".") else escaped


def main() -> None:
    """Write the pages into the directory that is named."""
    directory = Path(sys.argv[1])
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (directory / name).write_text(text)


if __name__ == "__main__":
    main()
