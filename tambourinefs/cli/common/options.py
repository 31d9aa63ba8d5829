"""Arguments that both programs take: names of Tambourines and of namespaces."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable

    from click.shell_completion import CompletionItem

    Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]

_KINDS = ("tambourine", "tambourines", "tmb", "tambourine.tambourine.dev")


def name_argument(
    complete: Complete, *, many: bool, required: bool = True
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """NAME of a Tambourine, or with `many` NAME… as `names`; `tambourine/NAME` and `tmb/NAME` are taken as well."""
    return click.argument(
        "names" if many else "name",
        metavar="NAME..." if many else "NAME",
        nargs=-1 if many else 1,
        required=required,
        shell_complete=complete,
        callback=_names,
    )


def _names(
    _ctx: click.Context, _param: click.Parameter, value: str | tuple[str, ...] | None
) -> str | tuple[str, ...] | None:
    if isinstance(value, tuple):
        return tuple(_name(name) for name in value)
    return _name(value) if value is not None else None


def _name(text: str) -> str:
    from tambourinefs.model.names import object_name_problem, printable

    kind, slash, name = text.rpartition("/")
    if slash and kind not in _KINDS:
        raise click.BadParameter(f'"{printable(text)}" is not a Tambourine')
    if problem := object_name_problem(name):
        raise click.BadParameter(f'"{printable(text)}": {problem}')
    return name


def check_namespace(_ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    """A callback of click's. `-n 20` is what users of journalctl type."""
    from tambourinefs.model.names import namespace_problem, printable

    if value is None:
        return None
    if value.isdigit():
        raise click.BadParameter(
            f'"{value}" is not a namespace; for lines of the journal use -l {value}'
        )
    if problem := namespace_problem(value):
        raise click.BadParameter(f'"{printable(value)}": {problem}')
    return value
