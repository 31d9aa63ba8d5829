"""The cluster, where this host has joined one: the kubeconfig, the API server, this node's identity, its Lease."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cryptography import x509

from tambourinefs.doctor.finding import Finding, needs_root
from tambourinefs.doctor.patient import SYNC, quoted, restart
from tambourinefs.errors import InvalidConfig, NotFound, TambourineError, Unreachable
from tambourinefs.model import cluster, paths

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tambourinefs.doctor.patient import Patient
    from tambourinefs.kube.api import Api

_ANSWER_SECONDS: Final = 4.0
_LATE: Final = 0.85  # of its life: sync renews between 0.6 and 0.75
_MAX_LISTED: Final = 5


@dataclass(frozen=True, slots=True)
class Facts:
    """`configured` None: this user cannot see it. What could not be had is None or "" and `trouble` says why."""

    configured: bool | None
    node: str = ""
    kubeconfig: str = ""
    server: str = ""
    trouble: TambourineError | None = None
    begins: datetime | None = None
    ends: datetime | None = None
    identity_problem: str = ""
    renewed: datetime | None = None
    unlisted: tuple[str, ...] = field(default=())


def probe(patient: Patient) -> Facts:
    """Every request has a deadline; none changes anything."""
    path = patient.config.cluster.kubeconfig
    node = patient.config.cluster.node_name or socket.gethostname()
    try:
        os.stat(path)
    except FileNotFoundError:
        return Facts(False)
    except OSError:
        return Facts(None)
    if not patient.root:
        return Facts(None)
    begins, ends, problem = _identity()
    facts: dict[str, Any] = {
        "node": node, "kubeconfig": path, "begins": begins, "ends": ends, "identity_problem": problem,
    }  # fmt: skip
    try:
        from tambourinefs.kube.access import Access
        from tambourinefs.kube.api import Api

        api = Api(Access(Path(path), "tambourine-doctor"), answer_seconds=_ANSWER_SECONDS)
        facts["server"] = api.cluster()[0]
        facts["unlisted"] = _unlisted(api, node)
        facts["renewed"] = _renewed(api, patient.config.cluster.lease_namespace, node)
    except TambourineError as error:
        facts["trouble"] = error
    except ImportError:
        facts["trouble"] = InvalidConfig("this installation has no kubernetes client: [cluster]")
    return Facts(True, **facts)


def _identity() -> tuple[datetime | None, datetime | None, str]:
    """When the node's certificate begins and ends; a kubeconfig of the administrator's own has none of ours."""
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
    """When the Lease was renewed. A node may not read Leases: a dry run of a patch that changes nothing tells it."""
    from tambourinefs.kube.resources import LEASES

    name = cluster.lease_name(node)
    spec = api.merge(LEASES, name, namespace, {}, dry_run=True).get("spec") or {}
    try:
        return datetime.fromisoformat(str(spec.get("renewTime")))
    except ValueError:
        return None


def verdict(facts: Facts, patient: Patient) -> Iterator[Finding]:
    """What is wrong, or one line."""
    now = datetime.fromtimestamp(patient.now, UTC)
    if facts.configured is None:
        yield needs_root("cluster", "whether this host has joined a cluster")
        return
    if not facts.configured:
        yield Finding("cluster", "ok", "this host has joined none")
        return
    wrong = [*_identity_verdict(facts, now), *_server(facts), *_lease(facts, now)]
    yield from wrong
    if facts.unlisted:
        names = ", ".join(facts.unlisted[:_MAX_LISTED])
        text = f"{len(facts.unlisted)} on this host and in no assignment, kept: {names}"
        look = f"kubectl get tambourinenode {facts.node} -o jsonpath='{{.status.unlisted}}'"
        yield Finding("cluster", "warning", text, look)
    elif not wrong:
        until = f", identity good until {facts.ends:%Y-%m-%d}" if facts.ends else ""
        yield Finding("cluster", "ok", f"{facts.node} at {facts.server}{until}")


def _join(facts: Facts) -> str:
    """Run where kubectl is: it prints what to run here."""
    return f"kubectl tambourine join {facts.node}"


def _identity_verdict(facts: Facts, now: datetime) -> Iterator[Finding]:
    if facts.identity_problem:
        yield Finding("identity", "error", facts.identity_problem, _join(facts))
    elif facts.begins and facts.ends:
        if facts.ends <= now:
            text = f"this node's identity ended {facts.ends:%Y-%m-%d %H:%M} UTC"
            yield Finding("identity", "error", text, _join(facts))
        elif facts.begins > now:
            text = f"this node's identity begins {facts.begins:%Y-%m-%d %H:%M} UTC: is the clock right?"  # fmt: skip
            yield Finding("identity", "error", text, "timedatectl set-ntp true")
        elif now > facts.begins + (facts.ends - facts.begins) * _LATE:
            text = f"this node's identity ends {facts.ends:%Y-%m-%d} and was not renewed"
            yield Finding("identity", "warning", text, restart(SYNC))


def _server(facts: Facts) -> Iterator[Finding]:
    error = facts.trouble
    if error is None:
        return
    if isinstance(error, InvalidConfig):
        yield Finding("cluster", "error", error.message, _join(facts))
    elif isinstance(error, Unreachable):
        look = f"curl --silent --show-error --insecure {quoted(facts.server)}/readyz"
        yield Finding("cluster", "error", f"{facts.server} cannot be reached", look)
    elif isinstance(error, NotFound):
        yield Finding("cluster", "error", f"the cluster does not know this node: {error}", restart(SYNC))  # fmt: skip
    else:
        text = f"the API server does not take this node's identity: {error}"
        yield Finding("cluster", "error", text, _join(facts))


def _lease(facts: Facts, now: datetime) -> Iterator[Finding]:
    if facts.trouble is not None:
        return
    if facts.renewed is None:
        yield Finding("cluster", "error", "this node's Lease was never renewed", restart(SYNC))
        return
    age = (now - facts.renewed).total_seconds()
    if age > cluster.NODE_LOST_AFTER:
        text = f"this node's Lease is {age:.0f} s old: the cluster takes it for lost"
        yield Finding("cluster", "error", text, restart(SYNC))
