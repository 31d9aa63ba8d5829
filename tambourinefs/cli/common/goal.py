"""What was requested of a service, and how far it is: a pure function of a goal and of one node's report."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Final, NamedTuple

from tambourinefs.model.status import ACCEPTED, APPLIED, READY, Condition, StatusReport

if TYPE_CHECKING:
    from collections.abc import Mapping

# Reasons of Accepted=False that are about the host's rules; every other one is about the manifest.
POLICY_REASONS: Final = frozenset(
    {"DeniedByPolicy", "NamespaceNotAllowed", "ForeignUnit", "NameConflict"}
)
# Reasons that pass without an edit of the manifest, whatever the condition's status is.
TRANSIENT_REASONS: Final = frozenset(
    {
        "Applying",
        "NotAccepted",  # follows from Accepted, which has the cause
        "NotApplied",
        "PayloadMissing",
        "Removing",
        "SiloUnavailable",
        "Starting",
        "Stopping",
        "SystemdUnavailable",
    }
)


class GoalState(enum.Enum):
    """How far a goal is; the value is the exit code that it ends with."""

    READY = 0
    FAILED = 1
    INVALID = 2
    REFUSED = 3
    UNOBSERVED = 4  # no report of this generation yet
    PROGRESSING = -1


class Goal(NamedTuple):
    """One service and what was requested: a generation of the object `uid`, or its deletion."""

    namespace: str
    name: str
    uid: str
    generation: int
    command_id: str = ""  # of a restart or reload that has to be carried out, too
    gone: bool = False

    def __str__(self) -> str:
        return f"tambourine/{self.name}"


class GoalStatus(NamedTuple):
    """`condition` is the type that decides (empty: none yet); `reason` and `message` are its own."""

    state: GoalState
    condition: str = ""
    reason: str = ""
    message: str = ""

    @property
    def done(self) -> bool:
        """Whether waiting on would change nothing."""
        return self.state not in (GoalState.UNOBSERVED, GoalState.PROGRESSING)

    @property
    def exit_code(self) -> int:
        """1 where the wait ended before the goal was reached."""
        return 1 if self.state is GoalState.PROGRESSING else self.state.value

    def __str__(self) -> str:
        return ": ".join(part for part in (self.condition, self.reason, self.message) if part)


class NodeResult(NamedTuple):
    """How far a goal is on one node; `report` None: the agent lists no such service."""

    status: GoalStatus
    report: StatusReport | None


class GoalResult(NamedTuple):
    """How far a goal is as a whole and on each node; a host's own command line has one node, ""."""

    goal: Goal
    status: GoalStatus
    nodes: Mapping[str, NodeResult]


UNOBSERVED: Final = GoalStatus(
    GoalState.UNOBSERVED, "", "Waiting", "the agent has not reported this generation yet"
)
_DELETING: Final = GoalStatus(GoalState.PROGRESSING, "", "Removing", "")
_OUTDATED: Final = UNOBSERVED._replace(state=GoalState.PROGRESSING)


def initial(goal: Goal) -> GoalStatus:
    """The status before the first report."""
    return _DELETING if goal.gone else UNOBSERVED


def evaluate(goal: Goal, report: StatusReport | None) -> GoalStatus:
    """How far `goal` is by `report` (None: the agent lists no such service)."""
    return _deletion(goal, report) if goal.gone else _readiness(goal, report)


def _deletion(goal: Goal, report: StatusReport | None) -> GoalStatus:
    if report is None or (goal.uid and report.uid and report.uid != goal.uid):
        return GoalStatus(GoalState.READY, "", "Deleted", "")
    applied = report.condition(APPLIED)
    if applied is not None and applied.status == "False" and applied.reason == "RemoveFailed":
        return _of(GoalState.FAILED, applied)
    return _DELETING._replace(message=applied.message if applied else "")


def _readiness(goal: Goal, report: StatusReport | None) -> GoalStatus:
    if report is None:
        return UNOBSERVED
    if report.uid and report.uid != goal.uid:
        return _OUTDATED
    accepted, applied, ready = (
        _current(report.condition(kind), goal) for kind in (ACCEPTED, APPLIED, READY)
    )
    if accepted is None:
        return _OUTDATED
    if _final(accepted):
        refused = accepted.reason in POLICY_REASONS
        return _of(GoalState.REFUSED if refused else GoalState.INVALID, accepted)
    for condition in (applied, ready):
        if condition is not None and _final(condition):
            return _of(GoalState.FAILED, condition)
    if ready is not None and ready.status == "True":
        return _command(goal, report, ready)
    waiting_for = next((c for c in (accepted, applied, ready) if c and c.status != "True"), None)
    return _of(GoalState.PROGRESSING, waiting_for) if waiting_for else _OUTDATED


def _command(goal: Goal, report: StatusReport, ready: Condition) -> GoalStatus:
    """A restart or reload is done when its own commandID is reported as done; a unit that runs proves nothing."""
    last = report.last_command
    if not goal.command_id:
        return _of(GoalState.READY, ready)
    if last is None or last.command_id != goal.command_id:
        if ready.observed_generation > goal.generation:
            newer = f"generation {ready.observed_generation} replaced the command before it ran"
            return GoalStatus(GoalState.READY, READY, "Superseded", newer)
        return GoalStatus(GoalState.PROGRESSING, "", "Commanding", "the command has not started")
    if last.result == "running":
        return GoalStatus(GoalState.PROGRESSING, "", "Commanding", f"{last.command} is running")
    if last.result == "failed":
        failure = f"{last.command}: {last.message}"
        return GoalStatus(GoalState.FAILED, READY, "JobFailed", failure)
    return _of(GoalState.READY, ready)


def _current(condition: Condition | None, goal: Goal) -> Condition | None:
    """The condition, if it is of the requested generation or of a newer one."""
    if condition is None or condition.observed_generation < goal.generation:
        return None
    return condition


def _final(condition: Condition) -> bool:
    return condition.status == "False" and condition.reason not in TRANSIENT_REASONS


def _of(state: GoalState, condition: Condition) -> GoalStatus:
    return GoalStatus(state, condition.type, condition.reason, condition.message)
