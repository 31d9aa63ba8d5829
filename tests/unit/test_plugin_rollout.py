"""How far a goal is on all nodes, and what is printed of a failure."""

from __future__ import annotations

import pytest

from tambourinefs.cli.common.goal import Goal, GoalResult, GoalState, GoalStatus
from tambourinefs.cli.common.outcome import failing, failure, journal_lines, ready_count
from tambourinefs.cli.plugin.rollout import UNOBSERVED, evaluate_rollout
from tambourinefs.cli.plugin.watching import next_step
from tests.unit.plugin_objects import UID, condition, instance, service

GOAL = Goal("storage", "web", UID, 3)
RESTART = Goal("storage", "web", UID, 3, command_id="c-9")
READY = condition("Ready")
PROGRESSING = condition("Ready", "Unknown", "Progressing")


def restarted(node: str, command_id: str, result: str = "done") -> object:
    last = {"command": "restart", "commandID": command_id, "result": result}
    return instance(node, lastCommand=last)


def test_all_nodes_and_the_summary_ready_is_done() -> None:
    found = evaluate_rollout(GOAL, service(READY), [instance("h1"), instance("h2")])
    assert found.status.state is GoalState.READY
    assert ready_count(found) == 2


def test_what_the_controller_has_not_observed_ends_with_4() -> None:
    found = evaluate_rollout(GOAL, service(READY, observed=2), [instance("h1"), instance("h2")])
    assert found.status == UNOBSERVED
    assert found.status.exit_code == 4


def test_a_node_that_has_not_reported_is_waited_for() -> None:
    found = evaluate_rollout(GOAL, service(READY), [instance("h1")])
    assert found.status.state is GoalState.PROGRESSING
    assert found.status.message == "1 of 2 nodes ready"
    assert found.status.exit_code == 1


def test_reports_of_an_older_generation_do_not_count() -> None:
    old = instance("h2", *(condition(k, generation=2) for k in ("Accepted", "Applied", "Ready")))
    found = evaluate_rollout(GOAL, service(PROGRESSING), [instance("h1"), old])
    assert found.status.state is GoalState.PROGRESSING
    assert found.status.message == "1 of 2 nodes ready; h2: Waiting"


def test_restart_is_done_when_every_node_reports_its_command_id() -> None:
    done = [restarted("h1", "c-9"), restarted("h2", "c-9")]
    assert evaluate_rollout(RESTART, service(READY), done).status.state is GoalState.READY  # type: ignore[arg-type]
    for other in (restarted("h2", "c-8"), restarted("h2", "c-9", "running"), instance("h2")):
        found = evaluate_rollout(RESTART, service(READY), [done[0], other])  # type: ignore[list-item]
        assert found.status.state is GoalState.PROGRESSING


def test_the_summary_is_waited_for() -> None:
    found = evaluate_rollout(GOAL, service(PROGRESSING), [instance("h1"), instance("h2")])
    assert found.status.state is GoalState.PROGRESSING


@pytest.mark.parametrize("reason", ["RolloutStopped", "RolloutPaused", "NoNodes"])
def test_a_stopped_rollout_is_final(reason: str) -> None:
    found = evaluate_rollout(GOAL, service(condition("Ready", "False", reason)), [instance("h1")])
    assert found.status.state is GoalState.FAILED
    assert found.status.reason == reason


def test_a_node_that_failed_does_not_end_the_wait_for_the_others() -> None:
    failed = instance(
        "h1", condition("Accepted"), condition("Ready", "False", "Failed", message="exit 3")
    )
    waiting = instance("h2", condition("Accepted"), condition("Ready", "Unknown", "Starting"))
    summary = service(condition("Ready", "False", "Failed"))
    assert evaluate_rollout(GOAL, summary, [failed, waiting]).status.state is GoalState.PROGRESSING
    found = evaluate_rollout(GOAL, summary, [failed, instance("h2")]).status
    assert found.state is GoalState.FAILED
    assert found.message == "h1: exit 3"


def test_a_refusal_of_one_host_outweighs_a_failure_of_another() -> None:
    failed = instance("h1", condition("Accepted"), condition("Ready", "False", "Failed"))
    refused = instance("h2", condition("Accepted", "False", "NameConflict", message="taken"))
    found = evaluate_rollout(
        GOAL, service(condition("Ready", "False", "Failed")), [failed, refused]
    ).status
    assert found.state is GoalState.REFUSED
    assert found.exit_code == 3
    assert found.message == "h2 (and 1 more): taken"


def test_a_lost_node_is_not_waited_for() -> None:
    lost = instance("h2", condition("Ready", "Unknown", "NodeLost", message="not heard of"))
    found = evaluate_rollout(
        GOAL, service(condition("Ready", "Unknown", "NodeLost")), [instance("h1"), lost]
    )
    assert found.status.state is GoalState.FAILED
    assert found.status.reason == "NodeLost"


def test_a_manifest_that_no_node_can_read_is_invalid() -> None:
    refused = condition("Accepted", "False", "InvalidManifest", message="at spec.unit")
    found = evaluate_rollout(
        GOAL, service(refused, condition("Ready", "False", "NotApplied"), desired=0), []
    )
    assert found.status.exit_code == 2


def test_a_deleted_or_replaced_tambourine_is_not_waited_for() -> None:
    assert evaluate_rollout(GOAL, None, []).status.reason == "Deleted"
    assert evaluate_rollout(GOAL, service(READY, uid="uid-2"), []).status.reason == "Deleted"
    going = service(READY, deletionTimestamp="2026-01-01T00:00:00Z")
    assert evaluate_rollout(GOAL, going, []).status.reason == "Deleting"


def test_a_failure_lists_nodes_and_reasons() -> None:
    bad = [
        instance(
            f"h{n}",
            condition("Accepted"),
            condition("Ready", "False", "Failed", message="exit 3"),
        )
        for n in range(1, 20)
    ]
    result = evaluate_rollout(GOAL, service(condition("Ready", "False", "Failed"), desired=19), bad)
    told = failure(result, 60.0)
    assert told[0] == "error: tambourine/web is not ready: Ready: Failed: h1 (and 18 more): exit 3"
    assert "  h1: Ready: Failed: exit 3" in told
    assert "  … and 9 more nodes" in told
    assert failing(result)[:2] == ["h1", "h10"]


def test_a_journal_is_made_printable() -> None:
    assert journal_lines({"h1": ["no \x1b[31mdisk"], "": ["a\tb"]}) == [
        "  journal of h1:",
        "    no \\x1b[31mdisk",
        "  journal:",
        "    a\tb",
    ]


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
def test_each_failure_names_the_next_step(reason: str, says: str) -> None:
    result = GoalResult(GOAL, GoalStatus(GoalState.FAILED, "Ready", reason), {})
    assert says in next_step(result)
    assert "deployment" in next_step(GoalResult(GOAL, UNOBSERVED, {}))
