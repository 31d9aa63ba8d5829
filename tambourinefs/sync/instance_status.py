"""From the agent's reports to the status of TambourineInstances, and when a change is written. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from tambourinefs.model import cluster
from tambourinefs.model.status import StatusReport

FIGURES: Final = ("tasks", "memory")  # change by themselves
FIGURE_CHANGE: Final = 0.25
FIGURES_EVERY: Final = 600.0  # seconds
BURST: Final = 4.0  # writes of one instance without a pause; then one a second
WRITE_EVERY: Final = 1.0  # seconds


@dataclass(frozen=True, slots=True)
class Written:
    """The last write of an instance's status."""

    status: dict[str, Any]
    at: float  # monotonic seconds
    memory: int
    tokens: float = BURST  # further writes that need not wait


def status_of(report: StatusReport, journal: tuple[str, ...], revision: str) -> dict[str, Any]:
    """The instance's status; `active` without the age, which would go stale."""
    status = cluster.InstanceStatus(
        systemd_name=report.systemd_name,
        loaded=report.loaded,
        drop_in=report.drop_in,
        active=without_age(report.active),
        docs=report.docs,
        pid=report.pid,
        tasks=report.tasks,
        memory=report.memory,
        cgroup=report.cgroup,
        observed_generation=report.observed_generation,
        active_state=report.active_state,
        sub_state=report.sub_state,
        result=report.result,
        since=report.since or None,
        last_command=report.last_command,
        revision=revision,
        conditions=report.conditions,
        uid=report.uid,
        unit_file_state=report.unit_file_state,
        n_restarts=report.n_restarts,
        reason=report.reason,
        journal=journal,
    )
    return cluster.to_dict(status)


def without_age(active: str) -> str:
    """`active (running) since Fri 2021-03-05 13:38:11 PST` of `…; 1 day 21h ago`."""
    head, separator, tail = active.rpartition("; ")
    return head if separator and tail.endswith((" ago", "left")) else active


def is_due(before: Written | None, status: dict[str, Any], memory: int, now: float) -> bool:
    """Whether to write `status`: at any change of state; of figures alone only after FIGURES_EVERY and by FIGURE_CHANGE."""
    if before is None:
        return True
    old = {key: value for key, value in before.status.items() if key not in FIGURES}
    new = {key: value for key, value in status.items() if key not in FIGURES}
    if old != new:
        return True
    if all(before.status.get(key) == status.get(key) for key in FIGURES):
        return False
    moved = abs(memory - before.memory) > FIGURE_CHANGE * max(before.memory, 1)
    return moved and now - before.at >= FIGURES_EVERY


def written(before: Written | None, status: dict[str, Any], now: float, memory: int) -> Written:
    """After a write at `now`."""
    return Written(status, now, memory, _tokens(before, now) - 1)


def may_write(before: Written | None, now: float) -> bool:
    """Whether the next write may be now: a flapping unit costs one write a second, a start is written at once."""
    return _tokens(before, now) >= 1


def _tokens(before: Written | None, now: float) -> float:
    if before is None:
        return BURST
    return min(BURST, before.tokens + (now - before.at) / WRITE_EVERY)
