"""Tambourine.status: what its nodes say, in one object. Pure."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec

from tambourinefs.controller.fanout import Spread
from tambourinefs.controller.world import Report, Service, World
from tambourinefs.model import cluster, names
from tambourinefs.model.status import ACCEPTED, APPLIED, READY, Condition

PROGRESSING = "Progressing"
COMMON = ("systemd_name", "loaded", "drop_in", "docs", "result", "sub_state")


def summary(world: World, service: Service, spread: Spread | None, now: str) -> dict[str, Any]:
    """The status. `now` (RFC 3339) is when a condition changed that changes now."""
    if service.spec is None or spread is None:
        return _refused(service, now)
    heard = {name: world.report(service, name) for name in spread.targets}
    reports = [
        found for name, found in heard.items() if found is not None and not world.silence(name)
    ]
    unknown = len(spread.targets) - len(reports)
    current = [found for found in reports if _is_current(service, found)]
    ready = [found for found in current if _condition(found, READY) == "True"]
    failed = [found for found in reports if _condition(found, READY) == "False"]
    counts = cluster.NodeCounts(
        desired=len(spread.targets),
        ready=len(ready),
        updated=len(current),
        failed=len(failed),
        unknown=unknown,
    )
    conditions = tuple(
        _since(service, condition, now)
        for condition in (
            _accepted(service, reports),
            _applied(service, spread, reports, current),
            _ready(world, service, spread, counts, failed),
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
    """Whether a status says no more than that nodes are at it."""
    return any(
        item["type"] == READY and item["reason"] == PROGRESSING for item in status["conditions"]
    )


def _with_values(
    status: cluster.TambourineStatus, reports: list[Report], unknown: int
) -> cluster.TambourineStatus:
    """The seed's values: those of the only instance, or what all have in common, or a count."""
    if not reports:
        said = "unknown" if unknown else ""
        return msgspec.structs.replace(status, active=said, active_state=said)
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
    said = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
    one_state = next(iter(states)) if len(states) == 1 else said
    newest = max((item.status.since or "" for item in reports), default="")
    commands = [item.status.last_command for item in reports if item.status.last_command]
    last = max(commands, key=lambda item: item.time, default=None)
    return msgspec.structs.replace(
        status,
        **common,
        active=said,
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
    refused = [
        (found.node, condition)
        for found in reports
        if (condition := found.condition(ACCEPTED)) is not None and condition.status == "False"
    ]
    if refused:
        node, condition = refused[0]
        return _make(
            service, ACCEPTED, "False", condition.reason, _of(node, refused, condition.message)
        )
    return _make(service, ACCEPTED, "True", "Accepted", "")


def _applied(
    service: Service, spread: Spread, reports: list[Report], current: list[Report]
) -> Condition:
    applied = [found for found in current if _condition(found, APPLIED) == "True"]
    failed = [
        (found.node, condition)
        for found in reports
        if (condition := found.condition(APPLIED)) is not None and condition.status == "False"
    ]
    if failed:
        node, condition = failed[0]
        return _make(
            service, APPLIED, "False", condition.reason, _of(node, failed, condition.message)
        )
    if len(applied) == len(spread.targets):
        return _make(service, APPLIED, "True", "Applied", "")
    said = f"{len(applied)} of {len(spread.targets)} nodes have this generation"
    return _make(service, APPLIED, "False" if spread.stopped else "Unknown", "Applying", said)


def _ready(
    world: World,
    service: Service,
    spread: Spread,
    counts: cluster.NodeCounts,
    failed: list[Report],
) -> Condition:
    if not spread.targets:
        return _make(service, READY, "False", "NoNodes", _no_nodes(world, service, spread))
    if problem := world.problems.get(service.uid):
        return _make(service, READY, "False", "CannotCreate", problem)
    if spread.stopped:
        paused = service.spec is not None and service.spec.rollout.paused
        reason = "RolloutPaused" if paused else "RolloutStopped"
        keep = "node keeps what it had" if len(spread.waiting) == 1 else "nodes keep what they had"
        said = f"{spread.stopped}; {len(spread.waiting)} {keep}"
        return _make(service, READY, "False", reason, said)
    if failed:
        found = failed[0]
        condition = found.ready
        assert condition is not None
        said = f"{found.node}: {found.status.reason or condition.message}{_others(len(failed))}"
        return _make(service, READY, "False", condition.reason, said)
    if spread.withheld:
        return _make(service, READY, "False", "AgentTooOld", _too_old(world, spread))
    for reason, said in (
        (cluster.NODE_LOST, "not heard of"),
        (cluster.HOST_UNREACHABLE, "Bombshell or the agent does not answer on"),
    ):
        if silent := [name for name in spread.targets if world.silence(name) == reason]:
            listed = f"{', '.join(silent[:5])}{' …' if len(silent) > 5 else ''}"
            return _make(service, READY, "Unknown", reason, f"{said}: {listed}")
    if counts.ready == counts.desired:
        return _make(service, READY, "True", "Ready", f"{counts.ready} of {counts.desired} nodes")
    said = f"{counts.ready} of {counts.desired} nodes are ready at this generation"
    return _make(service, READY, "Unknown", PROGRESSING, said)


def _too_old(world: World, spread: Spread) -> str:
    node, fields = spread.withheld[0]
    more = _others(len(spread.withheld))
    return (
        f"{node}: its Tambourine {world.members[node].status.version} does not know {', '.join(fields[:5])}{more}; "
        "what is there stays as it is: install the newer release on the host, or leave the field out"
    )


def _no_nodes(world: World, service: Service, spread: Spread) -> str:
    total = len(world.members)
    if not total:
        return "no node has an agent: run `kubectl tambourine join NODE`, or `tambourine install --kubeconfig` on a host"
    if not spread.allowing:
        return (
            f"0 of {total} nodes allow namespace {service.namespace}: on the hosts, "
            f"`tambourine install --allow-namespace {service.namespace}`, or agent.namespaces in /etc/tambourine/config.toml"
        )
    return (
        f"{spread.allowing} of {total} nodes allow namespace {service.namespace}, and none of them is chosen "
        "by spec.nodeName or spec.nodeSelector"
    )


def _refused(service: Service, now: str) -> dict[str, Any]:
    made = (
        _make(service, ACCEPTED, "False", "InvalidManifest", service.problem),
        _make(service, READY, "False", "NotApplied", "it is not accepted"),
    )
    conditions = tuple(_since(service, condition, now) for condition in made)
    return cluster.to_dict(
        cluster.TambourineStatus(observed_generation=service.generation, conditions=conditions)
    )


def _of(node: str, all_: list[tuple[str, Condition]], message: str) -> str:
    return f"{node}: {message}{_others(len(all_))}"


def _others(count: int) -> str:
    if count < 2:
        return ""
    return f" (and {count - 1} other {'node' if count == 2 else 'nodes'})"


def _make(service: Service, kind: str, status: str, reason: str, message: str) -> Condition:
    said = names.printable(message)[:4096]
    return Condition(kind, status, reason, said, service.generation, "")


def _since(service: Service, condition: Condition, now: str) -> Condition:
    """Since when its status is what it is: the one before tells, if it is the same."""
    for old in service.status.get("conditions") or ():
        if old.get("type") == condition.type and old.get("status") == condition.status:
            return msgspec.structs.replace(
                condition, last_transition_time=old.get("lastTransitionTime") or now
            )
    return msgspec.structs.replace(condition, last_transition_time=now)
