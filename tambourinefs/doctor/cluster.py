"""The cluster, if this host has joined one: API server, identity and Lease of the node."""

from __future__ import annotations

import os
import shlex
import socket
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cryptography import x509

from tambourinefs.doctor.check import SYNC, Finding, needs_root, restart
from tambourinefs.errors import InvalidConfig, NotFound, TambourineError, Unreachable
from tambourinefs.model import cluster, paths

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tambourinefs.doctor.check import CheckContext
    from tambourinefs.kube.api import Api

_ANSWER_SECONDS: Final = 4.0
_LATE: Final = 0.85  # of its lifetime: sync renews between 0.6 and 0.75
_MAX_LISTED: Final = 5


@dataclass(frozen=True, slots=True)
class ClusterState:
    """`configured`: None if this user may not read the kubeconfig. `error`: of the first request."""

    configured: bool | None
    node: str = ""
    kubeconfig: str = ""
    server: str = ""
    error: TambourineError | None = None
    begins: datetime | None = None
    ends: datetime | None = None
    identity_problem: str = ""
    renewed: datetime | None = None
    unlisted: tuple[str, ...] = field(default=())


def probe(context: CheckContext) -> ClusterState:
    """Every request has a deadline; none changes anything."""
    path = context.config.cluster.kubeconfig
    node = context.config.cluster.node_name or socket.gethostname()
    try:
        os.stat(path)
    except FileNotFoundError:
        return ClusterState(False)
    except OSError:
        return ClusterState(None)
    if not context.root:
        return ClusterState(None)
    begins, ends, problem = _identity()
    observed: dict[str, Any] = {
        "node": node, "kubeconfig": path, "begins": begins, "ends": ends, "identity_problem": problem,
    }  # fmt: skip
    try:
        from tambourinefs.kube.access import Access
        from tambourinefs.kube.api import Api

        api = Api(Access(Path(path), "tambourine-doctor"), answer_seconds=_ANSWER_SECONDS)
        observed["server"] = api.cluster()[0]
        observed["unlisted"] = _unlisted(api, node)
        observed["renewed"] = _renewed(api, context.config.cluster.lease_namespace, node)
    except TambourineError as error:
        observed["error"] = error
    except ImportError:
        observed["error"] = InvalidConfig("this installation has no kubernetes client: [cluster]")
    return ClusterState(True, **observed)


def _identity() -> tuple[datetime | None, datetime | None, str]:
    """The validity of the node's certificate, if it has one, and what is wrong with the file."""
    try:
        found = x509.load_pem_x509_certificate(Path(paths.IDENTITY).read_bytes())
    except FileNotFoundError:
        return None, None, ""
    except (OSError, ValueError) as error:
        return None, None, f"{paths.IDENTITY} holds no certificate: {error}"
    return found.not_valid_before_utc, found.not_valid_after_utc, ""


def _unlisted(api: Api, node: str) -> tuple[str, ...]:
    from tambourinefs.kube.resources import NODES

    status = api.get(NODES, node).get("status") or {}
    return tuple(str(name) for name in status.get("unlisted") or ())


def _renewed(api: Api, namespace: str, node: str) -> datetime | None:
    """When the Lease was renewed. A node may not read Leases: from an empty dry-run patch."""
    from tambourinefs.kube.resources import LEASES

    name = cluster.lease_name(node)
    spec = api.merge(LEASES, name, namespace, {}, dry_run=True).get("spec") or {}
    try:
        return datetime.fromisoformat(str(spec.get("renewTime")))
    except ValueError:
        return None


def findings(observed: ClusterState, context: CheckContext) -> Iterator[Finding]:
    """A finding for each problem, or one."""
    now = datetime.fromtimestamp(context.now, UTC)
    if observed.configured is None:
        yield needs_root("cluster", "whether this host has joined a cluster")
        return
    if not observed.configured:
        yield Finding("cluster", "ok", "this host has not joined a cluster")
        return
    wrong = [*_identity_findings(observed, now), *_server(observed), *_lease(observed, now)]
    yield from wrong
    if observed.unlisted:
        names = ", ".join(observed.unlisted[:_MAX_LISTED])
        text = f"{len(observed.unlisted)} services have no assignment and are kept: {names}"
        look = f"kubectl get tambourinenode {observed.node} -o jsonpath='{{.status.unlisted}}'"
        yield Finding("cluster", "warning", text, look)
    elif not wrong:
        until = f", identity valid until {observed.ends:%Y-%m-%d}" if observed.ends else ""
        yield Finding("cluster", "ok", f"{observed.node} at {observed.server}{until}")


def _join(observed: ClusterState) -> str:
    """To be run where kubectl is: it prints the command for this host."""
    return f"kubectl tambourine join {observed.node}"


def _identity_findings(observed: ClusterState, now: datetime) -> Iterator[Finding]:
    if observed.identity_problem:
        yield Finding("identity", "error", observed.identity_problem, _join(observed))
    elif observed.begins and observed.ends:
        if observed.ends <= now:
            text = f"this node's identity expired {observed.ends:%Y-%m-%d %H:%M} UTC"
            yield Finding("identity", "error", text, _join(observed))
        elif observed.begins > now:
            text = f"this node's identity is not valid before {observed.begins:%Y-%m-%d %H:%M} UTC"
            yield Finding("identity", "error", text, "timedatectl set-ntp true")
        elif now > observed.begins + (observed.ends - observed.begins) * _LATE:
            text = f"this node's identity expires {observed.ends:%Y-%m-%d} and is not renewed"
            yield Finding("identity", "warning", text, restart(SYNC))


def _server(observed: ClusterState) -> Iterator[Finding]:
    error = observed.error
    if error is None:
        return
    if isinstance(error, InvalidConfig):
        yield Finding("cluster", "error", error.message, _join(observed))
    elif isinstance(error, Unreachable):
        look = f"curl --silent --show-error --insecure {shlex.quote(observed.server)}/readyz"
        yield Finding("cluster", "error", f"{observed.server} cannot be reached", look)
    elif isinstance(error, NotFound):
        yield Finding("cluster", "error", f"the cluster does not know this node: {error}", restart(SYNC))  # fmt: skip
    else:
        text = f"the API server rejects this node's identity: {error}"
        yield Finding("cluster", "error", text, _join(observed))


def _lease(observed: ClusterState, now: datetime) -> Iterator[Finding]:
    if observed.error is not None:
        return
    if observed.renewed is None:
        yield Finding("cluster", "error", "this node's Lease was never renewed", restart(SYNC))
        return
    age = (now - observed.renewed).total_seconds()
    if age > cluster.NODE_LOST_AFTER:
        text = f"this node's Lease is {age:.0f} s old: the cluster counts the node as lost"
        yield Finding("cluster", "error", text, restart(SYNC))
