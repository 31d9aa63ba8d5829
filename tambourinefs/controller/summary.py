"""Tambourine.status, the summary of what its nodes report. Pure.

`_ready` decides the Ready condition, RolloutStopped among its reasons; rollout.py decides why a rollout stops.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec

from tambourinefs.controller.assignments import Placement
from tambourinefs.controller.snapshot import Report, Service, Snapshot
from tambourinefs.model import cluster, names
from tambourinefs.model.status import ACCEPTED, APPLIED, READY, Condition

PROGRESSING = "Progressing"
COMMON = ("systemd_name", "loaded", "drop_in", "docs", "result", "sub_state")


def summary(
    snapshot: Snapshot, service: Service, placement: Placement | None, now: str
) -> dict[str, Any]:
    """The status. `now` (RFC 3339) is the lastTransitionTime of conditions that change."""
    if service.spec is None or placement is None:
        return _not_accepted(service, now)
    by_node = {name: snapshot.report(service, name) for name in placement.targets}
    reports = [
        found for name, found in by_node.items() if found is not None and not snapshot.silence(name)
    ]
    unknown = len(placement.targets) - len(reports)
    current = [found for found in reports if _is_current(service, found)]
    ready = [found for found in current if _condition(found, READY) == "True"]
    failed = [found for found in reports if _condition(found, READY) == "False"]
    counts = cluster.NodeCounts(
        desired=len(placement.targets),
        ready=len(ready),
        updated=len(current),
        failed=len(failed),
        unknown=unknown,
    )
    conditions = tuple(
        _since(service, condition, now)
        for condition in (
            _accepted(service, reports),
            _applied(service, placement, reports, current),
            _ready(snapshot, service, placement, counts, failed),
        )
    )
    status = cluster.TambourineStatus(
        unit=service.spec.unit_name,
        ready=f"{counts.ready}/{counts.desired}",
        nodes=counts,
        observed_generation=service.generation,
        revision=service.revision,
        conditions=conditions,
    )
    return cluster.to_dict(_with_values(status, reports, unknown))


def is_in_progress(status: dict[str, Any]) -> bool:
    """Whether a status reports nothing but progress."""
    return any(
        item["type"] == READY and item["reason"] == PROGRESSING for item in status["conditions"]
    )


def _with_values(
    status: cluster.TambourineStatus, reports: list[Report], unknown: int
) -> cluster.TambourineStatus:
    """Values of the only instance, or those that all have in common, or counts."""
    if not reports:
        state = "unknown" if unknown else ""
        return msgspec.structs.replace(status, active=state, active_state=state)
    if len(reports) == 1 and not unknown:
        one = reports[0].status
        values = {
            key: getattr(one, key)
            for key in (*COMMON, "active", "pid", "tasks", "memory", "cgroup", "active_state", "since", "last_command")
        }  # fmt: skip
        return msgspec.structs.replace(status, **values)
    common: dict[str, Any] = {}
    for key in COMMON:
        found = {getattr(item.status, key) for item in reports}
        common[key] = found.pop() if len(found) == 1 else ""
    states = Counter(item.status.active_state or "unknown" for item in reports)
    if unknown:
        states["unknown"] += unknown
    counts = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
    one_state = next(iter(states)) if len(states) == 1 else counts
    newest = max((item.status.since or "" for item in reports), default="")
    commands = [item.status.last_command for item in reports if item.status.last_command]
    last = max(commands, key=lambda item: item.time, default=None)
    return msgspec.structs.replace(
        status,
        **common,
        active=counts,
        active_state=one_state,
        since=newest or None,
        last_command=last,
    )


def _is_current(service: Service, report: Report) -> bool:
    return report.status.observed_generation >= service.generation


def _condition(report: Report, kind: str) -> str:
    found = report.condition(kind)
    return found.status if found is not None else "Unknown"


def _accepted(service: Service, reports: list[Report]) -> Condition:
    refused = _first_false(service, ACCEPTED, reports)
    return refused or _make(service, ACCEPTED, "True", "Accepted", "")


def _applied(
    service: Service, placement: Placement, reports: list[Report], current: list[Report]
) -> Condition:
    if failed := _first_false(service, APPLIED, reports):
        return failed
    applied = sum(_condition(found, APPLIED) == "True" for found in current)
    if applied == len(placement.targets):
        return _make(service, APPLIED, "True", "Applied", "")
    message = f"{applied} of {len(placement.targets)} nodes have this generation"
    return _make(service, APPLIED, "False" if placement.stopped else "Unknown", "Applying", message)


def _first_false(service: Service, kind: str, reports: list[Report]) -> Condition | None:
    """What the first node says that reports this condition as False, and how many others do."""
    found = [report for report in reports if _condition(report, kind) == "False"]
    if not found or (condition := found[0].condition(kind)) is None:
        return None
    message = f"{found[0].node}: {condition.message}{_others(len(found))}"
    return _make(service, kind, "False", condition.reason, message)


def _ready(
    snapshot: Snapshot,
    service: Service,
    placement: Placement,
    counts: cluster.NodeCounts,
    failed: list[Report],
) -> Condition:
    if not placement.targets:
        return _make(service, READY, "False", "NoNodes", _no_nodes(snapshot, service, placement))
    if problem := snapshot.problems.get(service.uid):
        return _make(service, READY, "False", "CannotCreate", problem)
    if placement.stopped:
        paused = service.spec is not None and service.spec.rollout.paused
        reason = "RolloutPaused" if paused else "RolloutStopped"
        keep = "node keeps" if len(placement.outdated) == 1 else "nodes keep"
        message = f"{placement.stopped}; {len(placement.outdated)} {keep} the previous version"
        return _make(service, READY, "False", reason, message)
    if failed:
        found = failed[0]
        condition = found.ready
        assert condition is not None
        message = f"{found.node}: {found.status.reason or condition.message}{_others(len(failed))}"
        return _make(service, READY, "False", condition.reason, message)
    if placement.unsupported:
        return _make(service, READY, "False", "AgentTooOld", _too_old(snapshot, placement))
    for reason, problem in (
        (cluster.NODE_LOST, "no heartbeat from"),
        (cluster.HOST_UNREACHABLE, "Bombshell or the agent does not answer on"),
    ):
        if silent := [name for name in placement.targets if snapshot.silence(name) == reason]:
            listed = f"{', '.join(silent[:5])}{' …' if len(silent) > 5 else ''}"
            return _make(service, READY, "Unknown", reason, f"{problem} {listed}")
    if counts.ready == counts.desired:
        return _make(service, READY, "True", "Ready", f"{counts.ready} of {counts.desired} nodes")
    message = f"{counts.ready} of {counts.desired} nodes are ready at this generation"
    return _make(service, READY, "Unknown", PROGRESSING, message)


def _too_old(snapshot: Snapshot, placement: Placement) -> str:
    node, fields = placement.unsupported[0]
    more = _others(len(placement.unsupported))
    return (
        f"{node}: Tambourine {snapshot.members[node].status.version} does not support {', '.join(fields[:5])}{more}; the "
        "node keeps the previous version: upgrade Tambourine on the host, or remove the field"
    )


def _no_nodes(snapshot: Snapshot, service: Service, placement: Placement) -> str:
    total = len(snapshot.members)
    if not total:
        return "no node runs an agent: run `kubectl tambourine join NODE`, or `tambourine install --kubeconfig` on a host"
    if not placement.allowing:
        return (
            f"0 of {total} nodes allow namespace {service.namespace}: on the hosts, "
            f"`tambourine install --allow-namespace {service.namespace}`, or agent.namespaces in /etc/tambourine/config.toml"
        )
    return (
        f"{placement.allowing} of {total} nodes allow namespace {service.namespace}, and none of them is selected "
        "by spec.nodeName or spec.nodeSelector"
    )


def _not_accepted(service: Service, now: str) -> dict[str, Any]:
    made = (
        _make(service, ACCEPTED, "False", "InvalidManifest", service.problem),
        _make(service, READY, "False", "NotApplied", "the manifest is not accepted"),
    )
    conditions = tuple(_since(service, condition, now) for condition in made)
    return cluster.to_dict(
        cluster.TambourineStatus(observed_generation=service.generation, conditions=conditions)
    )


def _others(count: int) -> str:
    if count < 2:
        return ""
    return f" (and {count - 1} other {'node' if count == 2 else 'nodes'})"


def _make(service: Service, kind: str, status: str, reason: str, message: str) -> Condition:
    text = names.printable(message)[:4096]
    return Condition(kind, status, reason, text, service.generation, "")


def _since(service: Service, condition: Condition, now: str) -> Condition:
    """With the lastTransitionTime of the previous one where the status is the same."""
    for old in service.status.get("conditions") or ():
        if old.get("type") == condition.type and old.get("status") == condition.status:
            return msgspec.structs.replace(
                condition, last_transition_time=old.get("lastTransitionTime") or now
            )
    return msgspec.structs.replace(condition, last_transition_time=now)
