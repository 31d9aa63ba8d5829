"""The options and arguments that several commands of the plugin share, as kubectl names them."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import click

from tambourinefs.cli.plugin.target import OPTIONS, target_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from click.shell_completion import CompletionItem


def target_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """--kubeconfig, --context and -n, handed to the command as one argument `target`."""

    @_options
    @functools.wraps(command)
    def with_target(*args: Any, **options: Any) -> Any:
        for name in OPTIONS:
            options.pop(name)
        return command(*args, target=target_of(click.get_current_context()), **options)

    return with_target


def root_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The same before the command; `target_of` finds them."""

    @_options
    @functools.wraps(command)
    def without(*args: Any, **options: Any) -> Any:
        for name in OPTIONS:
            options.pop(name)
        return command(*args, **options)

    return without


def _options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.option(
            "-n",
            "--namespace",
            metavar="NAMESPACE",
            callback=_namespace,
            shell_complete=_complete("namespaces"),
            help="The namespace [default: the context's].",
        ),
        click.option(
            "--context",
            metavar="NAME",
            shell_complete=_complete("contexts"),
            help="The kubeconfig's context [default: its current one].",
        ),
        click.option(
            "--kubeconfig",
            type=click.Path(exists=True, dir_okay=False),
            metavar="FILE",
            help="Who we are, and where the API server is [env: KUBECONFIG; default: ~/.kube/config].",
        ),
    ):
        command = option(command)
    return command


def _complete(
    what: str,
) -> Callable[[click.Context, click.Parameter, str], list[CompletionItem]]:
    def complete(
        ctx: click.Context, _param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        from tambourinefs.cli.plugin import completion

        names: Callable[[click.Context, str], list[CompletionItem]] = getattr(completion, what)
        return names(ctx, incomplete)

    return complete


def name_argument(*, many: bool = False) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """NAME of a Tambourine, or with `many` NAME… as `names`; `tambourine/NAME` and `tmb/NAME` are taken as well."""
    return click.argument(
        "names" if many else "name",
        metavar="NAME..." if many else "NAME",
        nargs=-1 if many else 1,
        required=True,
        shell_complete=_complete("tambourines"),
        callback=_plain,
    )


def node_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """--node, which completes."""
    return click.option(
        "--node",
        metavar="NODE",
        default="",
        shell_complete=_complete("nodes"),
        help="This node alone.",
    )(command)


def _plain(
    _ctx: click.Context, _param: click.Parameter, value: str | tuple[str, ...]
) -> str | tuple[str, ...]:
    return tuple(_one(name) for name in value) if isinstance(value, tuple) else _one(value)


def _one(name: str) -> str:
    from tambourinefs.model.names import object_name_problem, printable

    kind, slash, plain = name.rpartition("/")
    if slash and kind not in ("tambourine", "tambourines", "tmb", "tambourine.tambourine.dev"):
        raise click.BadParameter(f'"{printable(name)}" is not a Tambourine')
    problem = object_name_problem(plain)
    if problem:
        raise click.BadParameter(f'"{printable(name)}": {problem}')
    return plain


def _namespace(_ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    from tambourinefs.model.names import namespace_problem, printable

    problem = namespace_problem(value) if value is not None else ""
    if problem:
        raise click.BadParameter(f'"{printable(value or "")}": {problem}')
    return value
