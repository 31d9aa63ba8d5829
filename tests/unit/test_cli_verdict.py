"""Whether a service is as asked is decided by one pure function; each row of its table is a sentence here."""

from __future__ import annotations

import pytest

from tambourinefs.cli.common.verdict import Goal, Outcome, verdict
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


def test_ready_at_the_generation_is_as_asked() -> None:
    found = verdict(GOAL, report(ACCEPTED, APPLIED, READY))
    assert found.outcome is Outcome.AS_ASKED
    assert found.settled


def test_a_newer_generation_counts_as_well() -> None:
    newer = [condition(kind, "True", kind, 4) for kind in ("Accepted", "Applied", "Ready")]
    assert verdict(GOAL, report(*newer)).outcome is Outcome.AS_ASKED


@pytest.mark.parametrize("seen", [None, report(), report(ACCEPTED, APPLIED, READY, uid="uid-0")])
def test_what_the_agent_has_not_seen_is_pending(seen: StatusReport | None) -> None:
    assert verdict(GOAL, seen).outcome is Outcome.PENDING


def test_conditions_of_an_older_generation_say_nothing() -> None:
    old = [condition(kind, "True", kind, 2) for kind in ("Accepted", "Applied", "Ready")]
    assert verdict(GOAL, report(*old)).outcome is Outcome.PENDING
    old_failure = condition("Ready", "False", "Failed", 2)
    assert verdict(GOAL, report(ACCEPTED, APPLIED, old_failure)).outcome is Outcome.PENDING


@pytest.mark.parametrize(
    "reason", ["DeniedByPolicy", "NamespaceNotAllowed", "ForeignUnit", "NameConflict"]
)
def test_what_the_hosts_rules_refuse_ends_with_3(reason: str) -> None:
    found = verdict(GOAL, report(condition("Accepted", "False", reason)))
    assert found.outcome is Outcome.REFUSED
    assert found.outcome.value == 3
    assert found.reason == reason


@pytest.mark.parametrize("reason", ["InvalidManifest", "VerifyFailed"])
def test_a_manifest_that_is_wrong_ends_with_2(reason: str) -> None:
    # What ran before runs on and may be Ready: that is no answer to what was asked.
    found = verdict(GOAL, report(condition("Accepted", "False", reason), APPLIED, READY))
    assert found.outcome is Outcome.INVALID
    assert found.outcome.value == 2
    assert str(found) == f"Accepted: {reason}: {reason} it is"


@pytest.mark.parametrize(
    "passing",
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
def test_what_passes_by_itself_is_waited_for(passing: tuple[Condition, ...]) -> None:
    assert verdict(GOAL, report(*passing)).outcome is Outcome.PENDING


@pytest.mark.parametrize(
    "reason",
    ["Failed", "Drifted", "ConditionNotMet", "Inactive", "UnitNotFound", "JobFailed", "Unheard"],
)
def test_a_settled_reason_ends_with_1(reason: str) -> None:
    found = verdict(GOAL, report(ACCEPTED, APPLIED, condition("Ready", "False", reason)))
    assert found.outcome is Outcome.NOT_AS_ASKED
    assert found.outcome.value == 1


def test_a_failed_apply_is_told_before_the_readiness_that_follows_from_it() -> None:
    failed = condition("Applied", "False", "ApplyFailed")
    found = verdict(GOAL, report(ACCEPTED, failed, condition("Ready", "False", "Failed")))
    assert (found.outcome, found.about) == (Outcome.NOT_AS_ASKED, "Applied")


def test_a_command_is_done_when_its_own_id_is_reported() -> None:
    ready = (ACCEPTED, APPLIED, READY)
    other = LastCommand("restart", "c-8", "done")
    running = LastCommand("restart", "c-9", "running")
    done = LastCommand("restart", "c-9", "done")
    failed = LastCommand("restart", "c-9", "failed", "job timed out")
    assert verdict(COMMAND, report(*ready)).outcome is Outcome.PENDING
    assert verdict(COMMAND, report(*ready, last_command=other)).outcome is Outcome.PENDING
    assert verdict(COMMAND, report(*ready, last_command=running)).outcome is Outcome.PENDING
    assert verdict(COMMAND, report(*ready, last_command=done)).outcome is Outcome.AS_ASKED
    found = verdict(COMMAND, report(*ready, last_command=failed))
    assert found.outcome is Outcome.NOT_AS_ASKED
    assert "job timed out" in found.message


def test_a_command_that_a_newer_generation_overtook_is_not_waited_for() -> None:
    newer = [condition(kind, "True", kind, 4) for kind in ("Accepted", "Applied", "Ready")]
    found = verdict(COMMAND, report(*newer, last_command=LastCommand("restart", "c-10", "done")))
    assert (found.outcome, found.reason) == (Outcome.AS_ASKED, "Superseded")


def test_gone_is_no_report_or_that_of_a_successor() -> None:
    assert verdict(GONE, None).outcome is Outcome.AS_ASKED
    assert verdict(GONE, report(ACCEPTED, uid="uid-2")).outcome is Outcome.AS_ASKED
    assert verdict(GONE, report(ACCEPTED, APPLIED, READY)).outcome is Outcome.PENDING
    removing = condition("Applied", "False", "Removing")
    assert verdict(GONE, report(ACCEPTED, removing)).outcome is Outcome.PENDING
    stuck = condition("Applied", "False", "RemoveFailed")
    assert verdict(GONE, report(ACCEPTED, stuck)).outcome is Outcome.NOT_AS_ASKED
