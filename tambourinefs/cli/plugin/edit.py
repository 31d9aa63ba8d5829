"""Changing a Tambourine's spec: by resourceVersion, retried on a conflict, so no concurrent edit is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tambourinefs.cli.common.commands import check_installed
from tambourinefs.cli.common.goal import Goal
from tambourinefs.cli.plugin.objects import not_found, read_service, service_of
from tambourinefs.errors import Conflict, InvalidManifest, NotFound
from tambourinefs.kube.resources import TAMBOURINES

if TYPE_CHECKING:
    from collections.abc import Callable

    from tambourinefs.cli.plugin.objects import TambourineObject
    from tambourinefs.kube.api import Api

_ATTEMPTS: Final = 8  # the controller writes the status once a second


def edit(
    api: Api,
    namespace: str,
    name: str,
    change: Callable[[TambourineObject], dict[str, Any]],
    verb: str,
) -> Goal:
    """Merge `change` of the stored object into its spec (RFC 7386: None removes); returns the goal to wait for.

    `verb` is for errors. Raises NotFound, InvalidManifest, Conflict after repeated conflicts, Forbidden, Invalid,
    Unreachable.
    """
    for left in range(_ATTEMPTS - 1, -1, -1):
        service = read_service(api, namespace, name)
        known = service.metadata
        source = f"{known.namespace}/{known.name}"
        if known.deletion_timestamp:
            raise InvalidManifest(f"cannot {verb} a service that is being deleted", source=source)
        check_installed(service.spec.get("state"), verb, source=source)
        metadata = {"resourceVersion": known.resource_version, "uid": known.uid}
        try:
            body = {"metadata": metadata, "spec": change(service)}
            made = service_of(api.merge(TAMBOURINES, name, namespace, body)).metadata
        except Conflict:
            if not left:
                raise
        except NotFound as error:
            raise not_found(api, namespace, name) from error
        else:
            return Goal(namespace, name, made.uid, made.generation)
    raise AssertionError
