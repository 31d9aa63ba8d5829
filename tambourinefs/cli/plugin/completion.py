"""The names that shell completion offers: of Tambourines, nodes, namespaces and contexts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from click.shell_completion import CompletionItem

from tambourinefs.cli.plugin.target import target_of
from tambourinefs.errors import TambourineError
from tambourinefs.kube import resources
from tambourinefs.model.names import printable

if TYPE_CHECKING:
    import click

    from tambourinefs.kube.resources import Resource

_SECONDS: Final = 2.0  # for one request
_MOST: Final = 500  # choices


def tambourines(ctx: click.Context, incomplete: str) -> list[CompletionItem]:
    """Names of Tambourines in the target namespace, with their unit."""
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
    """Names with the typed prefix, and a value of their status; none, quickly and silently, without an answer."""
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
