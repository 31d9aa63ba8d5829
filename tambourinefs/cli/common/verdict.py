"""Is a service as it was asked to be? A pure function of what was asked and of what the agent reports.

Nothing here waits or prints: `wait` asks again whenever a bell rings, `apply`, `delete` and the commands tell people.
"""

from __future__ import annotations

import enum
from typing import Final, NamedTuple

from tambourinefs.model.status import ACCEPTED, APPLIED, READY, Condition, StatusReport

# Reasons of Accepted=False that speak of the host's rules; every other one speaks of the manifest.
POLICY_REASONS: Final = frozenset(
    {"DeniedByPolicy", "NamespaceNotAllowed", "ForeignUnit", "NameConflict"}
)
# Reasons that come and go by themselves, whatever the condition's status is.
PASSING_REASONS: Final = frozenset(
    {
        "Applying",
        "NotAccepted",  # follows from Accepted, which tells why
        "NotApplied",
        "PayloadMissing",
        "Removing",
        "SiloUnavailable",
        "Starting",
        "Stopping",
        "SystemdUnavailable",
    }
)


class Outcome(enum.Enum):
    """How far it is; the value is the exit code that it ends with."""

    AS_ASKED = 0
    NOT_AS_ASKED = 1
    INVALID = 2
    REFUSED = 3
    PENDING = -1


class Goal(NamedTuple):
    """One service and what was asked: a generation of the object `uid`, or that it is gone."""

    namespace: str
    name: str
    uid: str
    generation: int
    command_id: str = ""  # of a restart or reload that has to be carried out, too
    gone: bool = False

    def __str__(self) -> str:
        return f"tambourine/{self.name}"


class Verdict(NamedTuple):
    """`about` is the condition that decides (empty: none yet); `reason` and `message` are its own."""

    outcome: Outcome
    about: str = ""
    reason: str = ""
    message: str = ""

    @property
    def settled(self) -> bool:
        """Whether waiting on would change nothing."""
        return self.outcome is not Outcome.PENDING

    def __str__(self) -> str:
        head = f"{self.about}: {self.reason}" if self.about else self.reason
        return f"{head}: {self.message}" if self.message else head


UNSEEN: Final = Verdict(
    Outcome.PENDING, "", "Waiting", "the agent has not looked at this generation yet"
)


def verdict(goal: Goal, report: StatusReport | None) -> Verdict:
    """What `report` (None: the agent lists no such service) says about `goal`."""
    return _gone(goal, report) if goal.gone else _as_asked(goal, report)


def _gone(goal: Goal, report: StatusReport | None) -> Verdict:
    if report is None or (goal.uid and report.uid and report.uid != goal.uid):
        return Verdict(Outcome.AS_ASKED, "", "Gone", "")
    applied = report.condition(APPLIED)
    if applied is not None and applied.status == "False" and applied.reason == "RemoveFailed":
        return _of(Outcome.NOT_AS_ASKED, applied)
    return Verdict(Outcome.PENDING, "", "Removing", applied.message if applied else "")


def _as_asked(goal: Goal, report: StatusReport | None) -> Verdict:
    if report is None or (report.uid and report.uid != goal.uid):
        return UNSEEN
    accepted, applied, ready = (
        _current(report.condition(kind), goal) for kind in (ACCEPTED, APPLIED, READY)
    )
    if accepted is None:
        return UNSEEN
    if _settled_false(accepted):
        refused = accepted.reason in POLICY_REASONS
        return _of(Outcome.REFUSED if refused else Outcome.INVALID, accepted)
    for condition in (applied, ready):
        if condition is not None and _settled_false(condition):
            return _of(Outcome.NOT_AS_ASKED, condition)
    if ready is not None and ready.status == "True":
        return _command(goal, report, ready)
    waiting_for = next((c for c in (accepted, applied, ready) if c and c.status != "True"), None)
    return _of(Outcome.PENDING, waiting_for) if waiting_for else UNSEEN


def _command(goal: Goal, report: StatusReport, ready: Condition) -> Verdict:
    """A restart or reload is done when the agent says so of its own command id, not merely when the unit runs."""
    last = report.last_command
    if not goal.command_id:
        return _of(Outcome.AS_ASKED, ready)
    if last is None or last.command_id != goal.command_id:
        if ready.observed_generation > goal.generation:
            newer = f"generation {ready.observed_generation} came before it was carried out"
            return Verdict(Outcome.AS_ASKED, READY, "Superseded", newer)
        return Verdict(Outcome.PENDING, "", "Commanding", "the command is not begun yet")
    if last.result == "running":
        return Verdict(Outcome.PENDING, "", "Commanding", f"{last.command} runs")
    if last.result == "failed":
        return Verdict(Outcome.NOT_AS_ASKED, READY, "JobFailed", f"{last.command}: {last.message}")
    return _of(Outcome.AS_ASKED, ready)


def _current(condition: Condition | None, goal: Goal) -> Condition | None:
    """The condition, if it speaks of the generation that was asked for or of a newer one."""
    if condition is None or condition.observed_generation < goal.generation:
        return None
    return condition


def _settled_false(condition: Condition) -> bool:
    return condition.status == "False" and condition.reason not in PASSING_REASONS


def _of(outcome: Outcome, condition: Condition) -> Verdict:
    return Verdict(outcome, condition.type, condition.reason, condition.message)
