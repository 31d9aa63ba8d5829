"""How far a goal is, as a pure function of one report."""

from __future__ import annotations

import pytest

from tambourinefs.cli.common.goal import Goal, GoalState, evaluate
from tambourinefs.model.status import Condition, LastCommand, StatusReport

GOAL = Goal("local", "hello", "uid-1", 3)
GONE = Goal("local", "hello", "uid-1", 0, gone=True)
COMMAND = Goal("local", "hello", "uid-1", 3, command_id="c-9")


def condition(kind: str, status: str, reason: str, generation: int = 3) -> Condition:
    return Condition(kind, status, reason, f"{reason} it is", generation, "2026-01-01T00:00:00Z")


def report(
    *conditions: Condition, uid: str = "uid-1", last_command: LastCommand | None = None
) -> StatusReport:
    return StatusReport("local", "hello", uid=uid, conditions=conditions, last_command=last_command)


ACCEPTED = condition("Accepted", "True", "Accepted")
APPLIED = condition("Applied", "True", "Applied")
READY = condition("Ready", "True", "Ready")


def test_ready_at_the_generation_is_done() -> None:
    found = evaluate(GOAL, report(ACCEPTED, APPLIED, READY))
    assert found.state is GoalState.READY
    assert found.done


def test_a_newer_generation_counts_as_well() -> None:
    newer = [condition(kind, "True", kind, 4) for kind in ("Accepted", "Applied", "Ready")]
    assert evaluate(GOAL, report(*newer)).state is GoalState.READY


@pytest.mark.parametrize("old", [report(), report(ACCEPTED, APPLIED, READY, uid="uid-0")])
def test_a_report_of_another_object_is_waited_out_and_ends_with_1(old: StatusReport) -> None:
    found = evaluate(GOAL, old)
    assert (found.state, found.reason, found.exit_code) == (GoalState.PROGRESSING, "Waiting", 1)


def test_no_report_is_waited_out_and_ends_with_4() -> None:
    found = evaluate(GOAL, None)
    assert (found.state, found.done, found.exit_code) == (GoalState.UNOBSERVED, False, 4)


def test_conditions_of_an_older_generation_do_not_count() -> None:
    old = [condition(kind, "True", kind, 2) for kind in ("Accepted", "Applied", "Ready")]
    assert evaluate(GOAL, report(*old)).state is GoalState.PROGRESSING
    old_failure = condition("Ready", "False", "Failed", 2)
    assert evaluate(GOAL, report(ACCEPTED, APPLIED, old_failure)).state is GoalState.PROGRESSING


@pytest.mark.parametrize(
    "reason", ["DeniedByPolicy", "NamespaceNotAllowed", "ForeignUnit", "NameConflict"]
)
def test_a_policy_refusal_ends_with_3(reason: str) -> None:
    found = evaluate(GOAL, report(condition("Accepted", "False", reason)))
    assert found.state is GoalState.REFUSED
    assert found.state.value == 3
    assert found.reason == reason


@pytest.mark.parametrize("reason", ["InvalidManifest", "VerifyFailed"])
def test_an_invalid_manifest_ends_with_2(reason: str) -> None:
    # The unit of the last valid generation keeps running and may be Ready.
    found = evaluate(GOAL, report(condition("Accepted", "False", reason), APPLIED, READY))
    assert found.state is GoalState.INVALID
    assert found.state.value == 2
    assert str(found) == f"Accepted: {reason}: {reason} it is"


@pytest.mark.parametrize(
    "transient",
    [
        (condition("Accepted", "Unknown", "PayloadMissing"),),
        (condition("Accepted", "False", "SiloUnavailable"),),
        (
            condition("Accepted", "Unknown", "PayloadMissing"),
            condition("Applied", "False", "NotAccepted"),
        ),
        (ACCEPTED, condition("Applied", "False", "Applying")),
        (ACCEPTED, condition("Applied", "Unknown", "SiloUnavailable")),
        (ACCEPTED, APPLIED, condition("Ready", "Unknown", "Starting")),
        (ACCEPTED, APPLIED, condition("Ready", "Unknown", "Stopping")),
        (ACCEPTED, APPLIED, condition("Ready", "Unknown", "SystemdUnavailable")),
        (ACCEPTED, condition("Applied", "Unknown", "X"), condition("Ready", "False", "NotApplied")),
        (ACCEPTED, APPLIED),
    ],
)
def test_transient_reasons_are_waited_for(transient: tuple[Condition, ...]) -> None:
    assert evaluate(GOAL, report(*transient)).state is GoalState.PROGRESSING


@pytest.mark.parametrize(
    "reason",
    ["Failed", "Drifted", "ConditionNotMet", "Inactive", "UnitNotFound", "JobFailed", "Unheard"],
)
def test_a_final_reason_ends_with_1(reason: str) -> None:
    found = evaluate(GOAL, report(ACCEPTED, APPLIED, condition("Ready", "False", reason)))
    assert found.state is GoalState.FAILED
    assert found.state.value == 1


def test_applied_decides_before_ready() -> None:
    failed = condition("Applied", "False", "ApplyFailed")
    found = evaluate(GOAL, report(ACCEPTED, failed, condition("Ready", "False", "Failed")))
    assert (found.state, found.condition) == (GoalState.FAILED, "Applied")


def test_command_is_done_when_its_command_id_is_reported() -> None:
    ready = (ACCEPTED, APPLIED, READY)
    other = LastCommand("restart", "c-8", "done")
    running = LastCommand("restart", "c-9", "running")
    done = LastCommand("restart", "c-9", "done")
    failed = LastCommand("restart", "c-9", "failed", "job timed out")
    assert evaluate(COMMAND, report(*ready)).state is GoalState.PROGRESSING
    assert evaluate(COMMAND, report(*ready, last_command=other)).state is GoalState.PROGRESSING
    assert evaluate(COMMAND, report(*ready, last_command=running)).state is GoalState.PROGRESSING
    assert evaluate(COMMAND, report(*ready, last_command=done)).state is GoalState.READY
    found = evaluate(COMMAND, report(*ready, last_command=failed))
    assert found.state is GoalState.FAILED
    assert "job timed out" in found.message


def test_command_replaced_by_a_newer_generation_is_superseded() -> None:
    newer = [condition(kind, "True", kind, 4) for kind in ("Accepted", "Applied", "Ready")]
    found = evaluate(COMMAND, report(*newer, last_command=LastCommand("restart", "c-10", "done")))
    assert (found.state, found.reason) == (GoalState.READY, "Superseded")


def test_deletion_is_done_without_report_or_with_that_of_a_successor() -> None:
    assert evaluate(GONE, None).state is GoalState.READY
    assert evaluate(GONE, report(ACCEPTED, uid="uid-2")).state is GoalState.READY
    assert evaluate(GONE, report(ACCEPTED, APPLIED, READY)).state is GoalState.PROGRESSING
    removing = condition("Applied", "False", "Removing")
    assert evaluate(GONE, report(ACCEPTED, removing)).state is GoalState.PROGRESSING
    stuck = condition("Applied", "False", "RemoveFailed")
    assert evaluate(GONE, report(ACCEPTED, stuck)).state is GoalState.FAILED
