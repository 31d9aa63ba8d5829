"""Options and arguments that several commands share; completion of service names is theirs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from tambourinefs.cli.host.connection import LOCAL

if TYPE_CHECKING:
    from collections.abc import Callable

    from click.shell_completion import CompletionItem


def file_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """-f (several, required) and -R."""
    command = click.option(
        "-R", "--recursive", is_flag=True, help="Look into directories below the directories, too."
    )(command)
    return click.option(
        "-f",
        "--filename",
        "files",
        multiple=True,
        required=True,
        type=click.Path(exists=True, allow_dash=True),
        metavar="FILE|DIR|-",
        help="A manifest (YAML, several documents, or JSON), a directory of them, or - for standard input.",
    )(command)


def complete_service(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """The names of services that this host has; none, quickly and silently, when Bombshell is away."""
    from tambourinefs.cli.host.completion import service_names

    return service_names(ctx, param, incomplete)


def namespace_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """-n, which is `local` by default."""
    return click.option(
        "-n",
        "--namespace",
        default=LOCAL,
        show_default=True,
        metavar="NAMESPACE",
        callback=_namespace,
        help="The namespace; those other than local are managed in Kubernetes and only read here.",
    )(command)


def name_argument(
    *, many: bool = False, required: bool = True
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """NAME, or with `many` NAME… as `names`."""
    return click.argument(
        "names" if many else "name",
        metavar="NAME..." if many else "NAME",
        nargs=-1 if many else 1,
        required=required,
        shell_complete=complete_service,
        callback=_plain,
    )


def _plain(
    _ctx: click.Context, _param: click.Parameter, value: str | tuple[str, ...] | None
) -> str | tuple[str, ...] | None:
    """`tambourine/hello`, as it is printed, is taken as well as `hello`; a path is not a name."""
    if isinstance(value, tuple):
        return tuple(_one(name) for name in value)
    return _one(value) if value else value


def _one(name: str) -> str:
    from tambourinefs.model.names import printable

    plain = name.removeprefix("tambourine/")
    if not plain or "/" in plain or plain.startswith(".") or "\0" in plain:
        raise click.BadParameter(f'"{printable(name)}" is not a name')
    return plain


def _namespace(_ctx: click.Context, _param: click.Parameter, value: str) -> str:
    """A namespace is one name of a path; `-n 20` is what fingers type that know journalctl."""
    if value.isdigit():
        raise click.BadParameter(
            f"{value} is no namespace; for lines of the journal it is -l {value}"
        )
    return _one(value)
