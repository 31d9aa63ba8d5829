"""`tambourine completion`: the shell's script, and the service names that it offers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click
from click.shell_completion import CompletionItem, get_completion_class

from tambourinefs.cli.host.connection import Connection, read_reports
from tambourinefs.errors import TambourineError

if TYPE_CHECKING:
    from tambourinefs.model.status import StatusReport

VARIABLE: Final = "_TAMBOURINE_COMPLETE"
_SECONDS: Final = 0.7  # a completion is to feel immediate


@click.command(short_help="Print a shell completion script.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print a shell script that completes commands, options and the names of services on this host.

    The Debian package has the scripts of all three.

    \b
    Examples:
      tambourine completion bash > /usr/share/bash-completion/completions/tambourine
      tambourine completion zsh > /usr/local/share/zsh/site-functions/_tambourine
      tambourine completion fish > ~/.config/fish/completions/tambourine.fish
      source <(tambourine completion bash)        in the current shell
    """
    maker = get_completion_class(shell)
    assert maker is not None
    click.echo(maker(ctx.find_root().command, {}, "tambourine", VARIABLE).source())


def service_names(
    ctx: click.Context, _param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Names with the typed prefix, and their state as help; none when the host does not answer at once."""
    options = ctx.params
    host = Connection(*(str(options.get(key) or "") for key in ("socket", "pki", "config_file")))
    try:
        with host.connect(timeout=_SECONDS) as client:
            reports = read_reports(client)
    except (TambourineError, OSError):
        return []
    typed = set(options.get("names") or ())
    return [
        CompletionItem(report.name, help=f"{report.active_state} {report.unit}")
        for report in reports
        if _fits(report, options)
        and report.name.startswith(incomplete)
        and report.name not in typed
    ]


def _fits(report: StatusReport, options: dict[str, object]) -> bool:
    return bool(options.get("all_namespaces")) or report.namespace == options.get("namespace")
