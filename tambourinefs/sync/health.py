"""The conditions of this node's TambourineNode. Pure but for the time of a change."""

from __future__ import annotations

from collections.abc import Mapping

from tambourinefs import timestamps
from tambourinefs.model import cluster
from tambourinefs.model.status import READY, Condition


def conditions(
    node: cluster.Node,
    refused: Mapping[tuple[str, str], str],
    *,
    host: str,
    identity: str,
    certificates: str,
    clock: str,
) -> tuple[Condition, ...]:
    """`refused`: why an assignment is not carried out; `host` (Bombshell and agent: they do not answer), `identity`,
    `certificates` (Bombshell's and its clients'), `clock`: what is wrong with them, or "".
    """
    said = "; ".join(f"{namespace}/{name}: {why}" for (namespace, name), why in refused.items())
    return (
        _condition(node, READY, False, cluster.HOST_UNREACHABLE, host)
        if host
        else _condition(node, READY, True, "PartiallyRefused" if said else "Ready", said),
        _condition(node, "IdentityGood", not identity, "RenewalFailed" if identity else "Good", identity),
        _condition(
            node, "CertificatesValid", not certificates, "RenewalFailed" if certificates else "Valid", certificates,
        ),
        _condition(node, "ClockGood", not clock, "ClockSkew" if clock else "Good", clock),
    )  # fmt: skip


def _condition(node: cluster.Node, kind: str, holds: bool, reason: str, message: str) -> Condition:
    """Its time is that of the last change of its status."""
    status = "True" if holds else "False"
    since = (
        one.last_transition_time
        for one in node.status.conditions
        if (one.type, one.status) == (kind, status)
    )
    return Condition(kind, status, reason, message[:4096], 0, next(since, "") or timestamps.now())
