"""A command line whose subcommands are imported when they are used, and its exit."""

from __future__ import annotations

import gc
import importlib
import os
import sys
from typing import TYPE_CHECKING, Any, Final

import click

from tambourinefs import errors

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

INTERRUPTED: Final = 128 + 2  # SIGINT, as a shell reports it
PIPE_IS_GONE: Final = 128 + 13  # SIGPIPE
EXIT_CODES: Final[dict[type[errors.TambourineError], int]] = {
    errors.InvalidInput: 2,
    errors.RefusedByPolicy: 3,
    errors.Unreachable: 4,
}
_GARBAGE: Final = 100_000  # allocations between two collections: most commands end before


class LazyGroup(click.Group):
    """A group that imports a command's module only when that command is used (or --help lists it)."""

    def __init__(
        self, *args: Any, sections: Mapping[str, Mapping[str, str]], **kwargs: Any
    ) -> None:
        """`sections`: heading of --help, to name of a command, to `module:attribute`; the order is that of --help."""
        super().__init__(*args, **kwargs)
        self._sections = sections
        self._places = {name: at for section in sections.values() for name, at in section.items()}

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(self._places)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in self._places:
            return None
        module, _, attribute = self._places[cmd_name].partition(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def invoke(self, ctx: click.Context) -> object:
        """Run the command; a reader of its output may close the pipe."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # click would exit with 1, which means that a service is not ready
            ctx.exit(_pipe_is_gone())

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, commands in self._sections.items():
            rows = []
            for name in commands:
                command = self.get_command(ctx, name)
                assert command is not None
                rows.append((name, command.get_short_help_str(limit=80)))
            with formatter.section(title):
                formatter.write_dl(rows)


def main(root: click.Command, program: str) -> None:
    """Run the command line and end the process; every error becomes one line, a hint and an exit code."""
    gc.set_threshold(_GARBAGE)
    code = run(root, program, sys.argv[1:])
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        code = _pipe_is_gone()
    if code == INTERRUPTED:
        # Skip the interpreter's shutdown, which would wait for grpc's held lock (see rpc.client).
        sys.stderr.flush()
        os._exit(code)
    gc.freeze()  # the kernel frees everything; no collection at exit
    sys.exit(code)


def run(root: click.Command, program: str, arguments: Sequence[str]) -> int:
    """The exit code of one command line."""
    try:
        code = root.main(list(arguments), prog_name=program, standalone_mode=False)
    except errors.TambourineError as error:
        click.echo(explain(error), err=True)
        return exit_code(error)
    except click.ClickException as error:  # wrong usage: click's message, and 2
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    return code if isinstance(code, int) else 0


def exit_code(error: errors.TambourineError) -> int:
    """2 for wrong input, 3 for a refusal, 4 for a peer that cannot be reached, 1 for all else."""
    return next((code for kind, code in EXIT_CODES.items() if isinstance(error, kind)), 1)


def explain(error: errors.TambourineError) -> str:
    """`error: …`, and `hint: …` on a second line where there is one."""
    return f"error: {error.message}" + (f"\nhint: {error.hint}" if error.hint else "")


def _pipe_is_gone() -> int:
    """The reader of the output closed the pipe (`| head`)."""
    # Python flushes standard output once more at exit; it must not fail there.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return PIPE_IS_GONE
