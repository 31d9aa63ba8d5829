"""What lies in namespace `local` is this host's own; everything else is managed elsewhere and only read here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tambourinefs.cli.host.connection import LOCAL, read_reports
from tambourinefs.errors import InvalidInput, NotFound, TambourineError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tambourinefs.rpc.client import Client


def check_local(namespace: str, names: Sequence[str], verb: str) -> None:
    """Raises InvalidInput, which says where it is managed, for a namespace other than `local`."""
    if namespace != LOCAL:
        raise read_only(namespace, names[0] if names else "NAME", verb)


def read_only(namespace: str, name: str, verb: str) -> InvalidInput:
    """The refusal to change what is managed in Kubernetes."""
    return InvalidInput(
        f'tambourine/{name} in namespace "{namespace}" is read-only here: it is managed in Kubernetes',
        hint=_elsewhere(namespace, name, verb),
    )


def not_found(client: Client, name: str, verb: str) -> TambourineError:
    """The error for a service that `local` does not have; it tells of one of that name elsewhere."""
    try:
        reports = read_reports(client)
    except TambourineError:
        reports = []
    for report in reports:
        if report.name == name and report.namespace != LOCAL:
            return read_only(report.namespace, name, verb)
    return NotFound(f"tambourine/{name} not found", hint="tambourine get -A lists all there are")


def _elsewhere(namespace: str, name: str, verb: str) -> str:
    if verb == "delete":
        return f"kubectl -n {namespace} delete tambourine {name}"
    return f"there, set spec.command: kubectl -n {namespace} edit tambourine {name}"
