"""The command line of a host writes namespace `local` only; all others are managed in Kubernetes and read-only here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tambourinefs.cli.host.connection import LOCAL, read_reports
from tambourinefs.errors import InvalidInput, NotFound, TambourineError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tambourinefs.rpc.client import Client

LIST_HINT: Final = "`tambourine get -A` lists all services"


def check_local(namespace: str, names: Sequence[str], verb: str) -> None:
    """Raises InvalidInput, with the command to use instead, for a namespace other than `local`."""
    if namespace != LOCAL:
        raise read_only(namespace, names[0] if names else "NAME", verb)


def read_only(namespace: str, name: str, verb: str) -> InvalidInput:
    """The refusal to change what is managed in Kubernetes."""
    return InvalidInput(
        f'tambourine/{name} in namespace "{namespace}" is read-only here: it is managed in Kubernetes',
        hint=f"kubectl -n {namespace} delete tambourine {name}"
        if verb == "delete"
        else f"kubectl tambourine {verb} {name} -n {namespace}",
    )


def not_found(client: Client, name: str, verb: str) -> TambourineError:
    """The error for a service that `local` does not have; for one of another namespace, that it is read-only."""
    try:
        reports = read_reports(client)
    except TambourineError:
        reports = []
    for report in reports:
        if report.name == name and report.namespace != LOCAL:
            return read_only(report.namespace, name, verb)
    return missing(name, LOCAL)


def missing(name: str, namespace: str | None) -> NotFound:
    """The error for a service that is not listed; `namespace` None: in none of them."""
    where = f' in namespace "{namespace}"' if namespace else ""
    return NotFound(f"tambourine/{name} not found{where}", hint=LIST_HINT)
