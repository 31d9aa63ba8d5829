"""Changing a Tambourine's spec on the basis of what was read: nobody's edit in between is written over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tambourinefs.cli.common.verdict import Goal
from tambourinefs.cli.plugin.objects import not_found, read_service, service_of
from tambourinefs.errors import Conflict, InvalidManifest, NotFound
from tambourinefs.kube.resources import TAMBOURINES

if TYPE_CHECKING:
    from collections.abc import Callable

    from tambourinefs.cli.plugin.objects import Service
    from tambourinefs.kube.api import Api

_TRIES: Final = 8  # the controller writes the status once a second; each try reads anew


def edit(
    api: Api, namespace: str, name: str, change: Callable[[Service], dict[str, Any]], what: str
) -> Goal:
    """Merge `change` of what is there into its spec (RFC 7386: None removes), and the generation to wait for.

    `what` says in an error what cannot be done. Raises NotFound, InvalidManifest, Conflict when others write all the
    time, Forbidden, Invalid, Unreachable.
    """
    for left in range(_TRIES - 1, -1, -1):
        service = read_service(api, namespace, name)
        _check(service, what)
        metadata = {
            "resourceVersion": service.metadata.resource_version,
            "uid": service.metadata.uid,
        }
        body = {"metadata": metadata, "spec": change(service)}
        try:
            answer = service_of(api.merge(TAMBOURINES, name, namespace, body))
        except Conflict:
            if not left:
                raise
        except NotFound as error:
            raise not_found(api, namespace, name) from error
        else:
            return Goal(namespace, name, answer.metadata.uid, answer.metadata.generation)
    raise AssertionError


def _check(service: Service, what: str) -> None:
    source = f"{service.metadata.namespace}/{service.metadata.name}"
    if service.metadata.deletion_timestamp:
        raise InvalidManifest(f"cannot {what} what is being deleted", source=source)
    if service.spec.get("state") == "absent":
        raise InvalidManifest(
            f"cannot {what} what is to be absent",
            source=source,
            field="spec.state",
            hint="apply it with state: installed",
        )
