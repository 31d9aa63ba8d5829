"""`tambourine`: the root command. Subcommands are loaded when they are asked for.

Each subcommand is one click command, named here by `module:attribute`, so that `tambourine get` never imports a file system
and the client works without the `[node]` extra.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import TYPE_CHECKING, Final

import click

from tambourinefs import __version__
from tambourinefs.cli.exits import exit_code, explain
from tambourinefs.errors import TambourineError

if TYPE_CHECKING:
    from collections.abc import Sequence

INTERRUPTED: Final = 128 + 2  # SIGINT, as a shell says it
PIPE_IS_GONE: Final = 128 + 13  # SIGPIPE

# The order is the order of --help.
SECTIONS: Final[dict[str, dict[str, str]]] = {
    "Services": {
        "apply": "tambourinefs.cli.apply:apply",
        "diff": "tambourinefs.cli.apply:diff",
        "delete": "tambourinefs.cli.delete:delete",
        "get": "tambourinefs.cli.get:get",
        "status": "tambourinefs.cli.status:status",
        "start": "tambourinefs.cli.command:start",
        "stop": "tambourinefs.cli.command:stop",
        "restart": "tambourinefs.cli.command:restart",
        "reload": "tambourinefs.cli.command:reload",
        "logs": "tambourinefs.cli.logs:logs",
    },
    "This host": {
        "install": "tambourinefs.cli.install:install",
        "config": "tambourinefs.cli.config:config",
        "pki": "tambourinefs.cli.pki:pki",
        "completion": "tambourinefs.cli.completion:completion",
    },
    "Daemons (systemd runs these)": {
        "silo": "tambourinefs.cli.daemons:silo",
        "bombshell": "tambourinefs.cli.daemons:bombshell",
        "agent": "tambourinefs.cli.daemons:agent",
        "sync": "tambourinefs.cli.cluster:sync",
        "controller": "tambourinefs.cli.cluster:controller",
        "mount": "tambourinefs.cli.daemons:mount",
        "unmount": "tambourinefs.cli.daemons:unmount",
    },
}
COMMANDS: Final = {name: at for section in SECTIONS.values() for name, at in section.items()}


class Tambourine(click.Group):
    """A group that imports a command's module only when that command is used (or --help lists it)."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name].partition(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def invoke(self, ctx: click.Context) -> object:
        """Run the command; who read its output may go away."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # click would end with 1, which says that a service is not as asked
            ctx.exit(_pipe_is_gone())

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, commands in SECTIONS.items():
            rows = []
            for name in commands:
                command = self.get_command(ctx, name)
                assert command is not None
                rows.append((name, command.get_short_help_str(limit=80)))
            with formatter.section(title):
                formatter.write_dl(rows)


@click.group(cls=Tambourine, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="tambourine")
def root() -> None:
    """Install, manage and observe systemd services on this host, from manifests.

    \b
    A first service:
      tambourine apply -f hello.yaml      install it and wait until it is as asked
      tambourine get                      all services, one line each
      tambourine status hello             what `systemctl status` shows, and why it failed
      cat /run/tambourine/proc/local/hello/status

    \b
    Exit codes:
      0  as asked
      1  the service is not as asked
      2  the usage or the manifest is wrong
      3  refused by the host's policy (/etc/tambourine/config.toml)
      4  Bombshell cannot be reached
    """


def main() -> None:
    """Run the command line and end the process; every error becomes one line, a hint and an exit code."""
    code = run(sys.argv[1:])
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        code = _pipe_is_gone()
    sys.exit(code)


def run(arguments: Sequence[str]) -> int:
    """The exit code of one command line; what it says goes to standard output and standard error."""
    try:
        code = root.main(list(arguments), prog_name="tambourine", standalone_mode=False)
    except TambourineError as error:
        click.echo(explain(error), err=True)
        return exit_code(error)
    except click.ClickException as error:  # the usage: click's own words, and 2
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    return code if isinstance(code, int) else 0


def _pipe_is_gone() -> int:
    """Who read our output went away (`| head`): nothing to say, and nobody to say it to."""
    # Python flushes standard output once more at exit; it must not fail there.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return PIPE_IS_GONE


if __name__ == "__main__":
    main()
