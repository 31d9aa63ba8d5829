"""Whether a service is as asked on all its nodes is decided by one pure function; each row is a sentence here."""

from __future__ import annotations

import pytest

from tambourinefs.cli.common.verdict import Goal, Outcome, Verdict
from tambourinefs.cli.plugin.verdict import UNSEEN, judge
from tambourinefs.cli.plugin.waiting import Result, exit_code, failure, next_step
from tests.unit.plugin_objects import UID, condition, instance, service

GOAL = Goal("storage", "web", UID, 3)
RESTART = Goal("storage", "web", UID, 3, command_id="c-9")
READY = condition("Ready")
PROGRESSING = condition("Ready", "Unknown", "Progressing")


def restarted(node: str, command_id: str, result: str = "done") -> object:
    last = {"command": "restart", "commandID": command_id, "result": result}
    return instance(node, lastCommand=last)


def test_all_nodes_and_the_summary_ready_is_as_asked() -> None:
    found = judge(GOAL, service(READY), [instance("h1"), instance("h2")])
    assert found.verdict.outcome is Outcome.AS_ASKED
    assert found.done == 2


def test_what_the_controller_has_not_seen_is_pending_and_ends_with_4() -> None:
    found = judge(GOAL, service(READY, observed=2), [instance("h1"), instance("h2")])
    assert found.verdict == UNSEEN
    assert exit_code(found.verdict) == 4


def test_a_node_that_has_not_reported_is_waited_for() -> None:
    found = judge(GOAL, service(READY), [instance("h1")])
    assert found.verdict.outcome is Outcome.PENDING
    assert found.verdict.message == "1 of 2 nodes done"
    assert exit_code(found.verdict) == 1


def test_reports_of_an_older_generation_say_nothing() -> None:
    old = instance("h2", *(condition(k, generation=2) for k in ("Accepted", "Applied", "Ready")))
    found = judge(GOAL, service(PROGRESSING), [instance("h1"), old])
    assert found.verdict.outcome is Outcome.PENDING
    assert found.verdict.message == "1 of 2 nodes done; h2: Waiting"


def test_a_restart_is_done_when_every_node_says_so_of_this_very_one() -> None:
    done = [restarted("h1", "c-9"), restarted("h2", "c-9")]
    assert judge(RESTART, service(READY), done).verdict.outcome is Outcome.AS_ASKED  # type: ignore[arg-type]
    for other in (restarted("h2", "c-8"), restarted("h2", "c-9", "running"), instance("h2")):
        found = judge(RESTART, service(READY), [done[0], other])  # type: ignore[list-item]
        assert found.verdict.outcome is Outcome.PENDING


def test_the_summary_is_waited_for_a_moment() -> None:
    found = judge(GOAL, service(PROGRESSING), [instance("h1"), instance("h2")])
    assert found.verdict.outcome is Outcome.PENDING


@pytest.mark.parametrize("reason", ["RolloutStopped", "RolloutPaused", "NoNodes"])
def test_a_rollout_that_goes_no_further_is_settled(reason: str) -> None:
    found = judge(GOAL, service(condition("Ready", "False", reason)), [instance("h1")])
    assert found.verdict.outcome is Outcome.NOT_AS_ASKED
    assert found.verdict.reason == reason


def test_a_node_that_failed_does_not_end_the_wait_for_the_others() -> None:
    failed = instance(
        "h1", condition("Accepted"), condition("Ready", "False", "Failed", message="exit 3")
    )
    waiting = instance("h2", condition("Accepted"), condition("Ready", "Unknown", "Starting"))
    summary = service(condition("Ready", "False", "Failed"))
    assert judge(GOAL, summary, [failed, waiting]).verdict.outcome is Outcome.PENDING
    found = judge(GOAL, summary, [failed, instance("h2")]).verdict
    assert found.outcome is Outcome.NOT_AS_ASKED
    assert found.message == "h1: exit 3"


def test_a_refusal_of_one_host_is_the_verdict_over_a_failure_of_another() -> None:
    failed = instance("h1", condition("Accepted"), condition("Ready", "False", "Failed"))
    refused = instance("h2", condition("Accepted", "False", "NameConflict", message="taken"))
    found = judge(GOAL, service(condition("Ready", "False", "Failed")), [failed, refused]).verdict
    assert found.outcome is Outcome.REFUSED
    assert exit_code(found) == 3
    assert found.message == "h2 (and 1 more): taken"


def test_a_lost_node_is_not_waited_for() -> None:
    lost = instance("h2", condition("Ready", "Unknown", "NodeLost", message="not heard of"))
    found = judge(GOAL, service(condition("Ready", "Unknown", "NodeLost")), [instance("h1"), lost])
    assert found.verdict.outcome is Outcome.NOT_AS_ASKED
    assert found.verdict.reason == "NodeLost"


def test_what_no_release_can_read_is_invalid() -> None:
    refused = condition("Accepted", "False", "InvalidManifest", message="at spec.unit")
    found = judge(GOAL, service(refused, condition("Ready", "False", "NotApplied"), desired=0), [])
    assert exit_code(found.verdict) == 2


def test_what_is_deleted_or_made_again_is_not_waited_for() -> None:
    assert judge(GOAL, None, []).verdict.reason == "Gone"
    assert judge(GOAL, service(READY, uid="uid-2"), []).verdict.reason == "Gone"
    going = service(READY, deletionTimestamp="2026-01-01T00:00:00Z")
    assert judge(GOAL, going, []).verdict.reason == "Deleting"


def test_a_failure_names_nodes_reasons_and_the_first_journals() -> None:
    bad = [
        instance(
            f"h{n}",
            condition("Accepted"),
            condition("Ready", "False", "Failed", message="exit 3"),
            journal=[f"h{n} said \x1b[31mno"],
        )
        for n in range(1, 20)
    ]
    judged = judge(GOAL, service(condition("Ready", "False", "Failed"), desired=19), bad)
    told = failure(Result(GOAL, judged, bad), 60.0)
    assert (
        told[0] == "error: tambourine/web is not as asked: Ready: Failed: h1 (and 18 more): exit 3"
    )
    assert "  h1: Ready: Failed: exit 3" in told
    assert "  … and 9 more nodes" in told
    assert told.count("    h1 said \\x1b[31mno") == 1
    assert sum(line.startswith("  journal of") for line in told) == 2
    assert told[-1].startswith("  next: kubectl tambourine status web")


@pytest.mark.parametrize(
    ("reason", "says"),
    [
        ("NoNodes", "kubectl tambourine nodes"),
        ("NodeLost", "kubectl tambourine nodes"),
        ("HostUnreachable", "kubectl tambourine nodes"),
        ("RolloutPaused", "spec.rollout.paused"),
        ("RolloutStopped", "kubectl tambourine undo web"),
    ],
)
def test_each_end_says_what_to_do_next(reason: str, says: str) -> None:
    assert says in next_step(Verdict(Outcome.NOT_AS_ASKED, "Ready", reason), "web")
    assert "deployment" in next_step(UNSEEN, "web")
