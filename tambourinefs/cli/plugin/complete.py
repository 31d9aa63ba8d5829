"""`kubectl_complete-tambourine`: the program that kubectl runs to complete a command line.

Protocol: kubectl's pkg/cmd/plugin/plugin_completion.go: the arguments are the words so far and the one being typed; the
answer is a choice a line (a tab, then what it is), and last `:` and cobra's ShellCompDirective.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from click.shell_completion import ShellComplete

from tambourinefs.cli.plugin.main import PROGRAM, root

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

FILES: Final = 0  # ShellCompDirectiveDefault: the shell's own completion of files
NO_FILES: Final = 4  # ShellCompDirectiveNoFileComp


def answer(words: Sequence[str]) -> Iterator[str]:
    """The lines for kubectl; `words` are those after `kubectl tambourine`, the last one being typed."""
    *before, incomplete = words or [""]
    found = ShellComplete(root, {}, PROGRAM, "").get_completions(before, incomplete)
    plain = [item for item in found if item.type == "plain"]
    for item in plain:
        yield f"{item.value}\t{item.help}" if item.help else str(item.value)
    yield f":{NO_FILES if len(plain) == len(found) else FILES}"


def main() -> None:
    """`kubectl_complete-tambourine`. Errors are not shown during completion."""
    sys.stdout.write("".join(f"{line}\n" for line in answer(sys.argv[1:])))
