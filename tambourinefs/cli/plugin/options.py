"""The options and arguments that several commands of the plugin share, as kubectl names them."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Final

import click

from tambourinefs.cli.common import options
from tambourinefs.cli.plugin.target import OPTIONS, target_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from click.shell_completion import CompletionItem

DEFAULT_TIMEOUT: Final = "10m"  # a rollout goes node by node, and each may take systemd's 90 s


def target_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """--kubeconfig, --context and -n, handed to the command as one argument `target`."""

    @_options
    @functools.wraps(command)
    def with_target(*args: Any, **values: Any) -> Any:
        for name in OPTIONS:
            values.pop(name)
        return command(*args, target=target_of(click.get_current_context()), **values)

    return with_target


def root_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The same before the command; `target_of` finds them."""

    @_options
    @functools.wraps(command)
    def without(*args: Any, **values: Any) -> Any:
        for name in OPTIONS:
            values.pop(name)
        return command(*args, **values)

    return without


def _options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.option(
            "-n",
            "--namespace",
            metavar="NAMESPACE",
            callback=options.check_namespace,
            shell_complete=_complete("namespaces"),
            help="The namespace [default: that of the context].",
        ),
        click.option(
            "--context",
            metavar="NAME",
            shell_complete=_complete("contexts"),
            help="The context of the kubeconfig [default: the current one].",
        ),
        click.option(
            "--kubeconfig",
            type=click.Path(exists=True, dir_okay=False),
            metavar="FILE",
            help="Path to the kubeconfig file [env: KUBECONFIG; default: ~/.kube/config].",
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
    """NAME of a Tambourine, or with `many` NAME… as `names`."""
    return options.name_argument(_complete("tambourines"), many=many)


def node_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """--node, which completes."""
    return click.option(
        "--node",
        metavar="NODE",
        default="",
        shell_complete=_complete("nodes"),
        help="Only this node.",
    )(command)
