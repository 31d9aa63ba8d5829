"""The conditions of this node's TambourineNode. Pure but for the time of a change."""

from __future__ import annotations

from collections.abc import Mapping

from tambourinefs import timestamps
from tambourinefs.model import cluster
from tambourinefs.model.names import NamespacedName
from tambourinefs.model.status import READY, Condition


def conditions(
    node: cluster.Node,
    refused: Mapping[NamespacedName, str],
    *,
    host: str,
    identity: str,
    certificates: str,
    clock: str,
) -> tuple[Condition, ...]:
    """`refused`: why an assignment is not carried out. The others are a problem, or "": of `host` (Bombshell or the agent
    does not answer), this node's `identity`, the `certificates` of Bombshell and its clients, and the host's `clock`.
    """
    partly = "; ".join(f"{'/'.join(key)}: {why}" for key, why in refused.items())
    ready_reason = cluster.HOST_UNREACHABLE if host else "PartiallyRefused" if partly else "Ready"
    return (
        _condition(node, READY, not host, ready_reason, host or partly),
        _condition(node, cluster.IDENTITY_GOOD, not identity, "RenewalFailed" if identity else "Good", identity),
        _condition(
            node, cluster.CERTIFICATES_VALID, not certificates, "RenewalFailed" if certificates else "Valid", certificates,
        ),
        _condition(node, cluster.CLOCK_GOOD, not clock, "ClockSkew" if clock else "Good", clock),
    )  # fmt: skip


def _condition(node: cluster.Node, kind: str, holds: bool, reason: str, message: str) -> Condition:
    """lastTransitionTime is that of the last change of its status."""
    status = "True" if holds else "False"
    since = (
        one.last_transition_time
        for one in node.status.conditions
        if (one.type, one.status) == (kind, status)
    )
    return Condition(kind, status, reason, message[:4096], 0, next(since, "") or timestamps.now())
