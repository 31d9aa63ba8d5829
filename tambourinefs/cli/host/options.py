"""Options and arguments that several commands of `tambourine` share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from tambourinefs.cli.common import options
from tambourinefs.cli.host.connection import LOCAL

if TYPE_CHECKING:
    from collections.abc import Callable

    from click.shell_completion import CompletionItem

DEFAULT_TIMEOUT: Final = (
    "5m"  # longer than systemd's own 90 s for a start, so that its reason is reported
)


def file_option(text: str, *, required: bool) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """-f, several, as `files`."""
    return click.option(
        "-f",
        "--filename",
        "files",
        multiple=True,
        required=required,
        type=click.Path(exists=True, allow_dash=True),
        metavar="FILE|DIR|-",
        help=text,
    )


def file_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """-f (required) and -R."""
    command = click.option(
        "-R", "--recursive", is_flag=True, help="Read the directories of -f recursively."
    )(command)
    text = "A manifest (YAML or JSON, several documents), a directory of manifests, or - for standard input."
    return file_option(text, required=True)(command)


def complete_service(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """The names of this host's services; none, quickly and silently, when Bombshell does not answer."""
    from tambourinefs.cli.host.completion import service_names

    return service_names(ctx, param, incomplete)


def name_argument(
    *, many: bool = False, required: bool = True
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """NAME, or with `many` NAME… as `names`."""
    return options.name_argument(complete_service, many=many, required=required)


namespace_option = click.option(
    "-n",
    "--namespace",
    default=LOCAL,
    show_default=True,
    metavar="NAMESPACE",
    callback=options.check_namespace,
    help="The namespace. Services outside local are managed in Kubernetes and read-only here.",
)
