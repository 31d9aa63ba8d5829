"""Completion: the names that the cluster has, and the program that kubectl asks (`kubectl_complete-tambourine`).

Protocol: kubectl's pkg/cmd/plugin/plugin_completion.go: the arguments are the words so far and the one being typed; the
answer is a choice a line (a tab, then what it is), and last `:` and cobra's ShellCompDirective.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from click.shell_completion import CompletionItem, ShellComplete

from tambourinefs.cli.plugin.target import target_of
from tambourinefs.errors import TambourineError
from tambourinefs.kube import resources
from tambourinefs.model.names import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import click

    from tambourinefs.kube.resources import Resource

_SECONDS: Final = 2.0  # for one request; nobody waits longer for a Tab
_MOST: Final = 500  # choices; more help nobody
FILES: Final = 0  # ShellCompDirectiveDefault: the shell's own completion of files
NO_FILES: Final = 4  # ShellCompDirectiveNoFileComp


def tambourines(ctx: click.Context, incomplete: str) -> list[CompletionItem]:
    """Names of Tambourines in the namespace that is meant, with their unit."""
    typed = set(ctx.params.get("names") or ())
    return [
        item
        for item in _names(ctx, resources.TAMBOURINES, incomplete, "unit")
        if item.value not in typed
    ]


def nodes(ctx: click.Context, incomplete: str) -> list[CompletionItem]:
    """Names of nodes that have an agent."""
    return _names(ctx, resources.NODES, incomplete, "version")


def namespaces(ctx: click.Context, incomplete: str) -> list[CompletionItem]:
    """Names of namespaces."""
    return _names(ctx, resources.NAMESPACES, incomplete, "phase")


def contexts(ctx: click.Context, incomplete: str) -> list[CompletionItem]:
    """Names of the kubeconfig's contexts."""
    import os

    from tambourinefs.kube import kubeconfig

    try:
        found = kubeconfig.contexts(target_of(ctx).kubeconfig, os.environ)
    except TambourineError:
        return []
    return [CompletionItem(name) for name in found if name.startswith(incomplete)]


def _names(
    ctx: click.Context, resource: Resource, incomplete: str, about: str
) -> list[CompletionItem]:
    """Names that begin as typed, with a value of their status; none, quickly and silently, when nobody answers."""
    target = target_of(ctx)
    try:
        api = target.connect(timeout=_SECONDS)
        namespace = target.namespace if resource.namespaced else ""
        page = next(api.list_pages(resource, namespace, limit=_MOST))
    except (TambourineError, OSError):
        return []
    return [
        CompletionItem(
            item["metadata"]["name"], help=printable(str((item.get("status") or {}).get(about, "")))
        )
        for item in page.items
        if item["metadata"]["name"].startswith(incomplete)
    ]


def answer(words: Sequence[str]) -> Iterator[str]:
    """The lines for kubectl; `words` are those after `kubectl tambourine`, the last one being typed."""
    from tambourinefs.cli.plugin.main import PROGRAM, root

    *before, incomplete = words or [""]
    found = ShellComplete(root, {}, PROGRAM, "").get_completions(before, incomplete)
    plain = [item for item in found if item.type == "plain"]
    for item in plain:
        yield f"{item.value}\t{item.help}" if item.help else str(item.value)
    yield f":{NO_FILES if len(plain) == len(found) else FILES}"


def main() -> None:
    """`kubectl_complete-tambourine`. A shell that completes shows nothing of an error; neither do we."""
    sys.stdout.write("".join(f"{line}\n" for line in answer(sys.argv[1:])))
