"""What a Tambourine's status says of its nodes, and when a node counts as lost."""

from __future__ import annotations

from typing import Any

import pytest

from tambourinefs.controller import assignments, summary
from tambourinefs.controller.liveness import LeaseTracker
from tambourinefs.controller.snapshot import Snapshot
from tambourinefs.model.status import ACCEPTED, APPLIED, READY
from tests.unit.cluster_world import Clock, assigned, make, member, report, service

NOW = "2026-11-23T08:00:00Z"


def _status(world: Snapshot) -> dict[str, Any]:
    (it,) = world.services.values()
    return summary.summary(world, it, assignments.plan(world).placements.get(it.uid), NOW)


def _condition(status: dict[str, Any], kind: str) -> dict[str, Any]:
    found: dict[str, Any] = next(one for one in status["conditions"] if one["type"] == kind)
    return found


def test_one_instance_is_shown_word_for_word() -> None:
    it = service()
    values = {
        "systemd_name": "zfs.service - ZFS", "loaded": "loaded (…)", "drop_in": "/etc/x", "docs": "man:zfs(8)",
        "active": "active (running) since Fri", "pid": "7 (zfs)", "tasks": "1 (limit: 9)", "memory": "1.0M",
        "cgroup": "/system.slice/zfs.service", "since": NOW,
    }  # fmt: skip
    status = _status(make(it, members=(member("a", assigned(it)),), reports=(report(it, "a", **values),)))  # fmt: skip
    wire = {"systemd_name": "systemdName", "drop_in": "drop-in"}
    assert {wire.get(key, key): value for key, value in values.items()}.items() <= status.items()
    assert (status["ready"], status["unit"]) == ("1/1", "zfs.service")


def test_several_are_what_they_have_in_common_or_a_count() -> None:
    it = service()
    members = tuple(member(name, assigned(it)) for name in "abc")
    said = (
        report(it, "a", loaded="loaded", docs="man:a(1)", pid="1"),
        report(it, "b", loaded="loaded", docs="man:b(1)", pid="2"),
        report(it, "c", "False", "Failed", loaded="loaded", active_state="failed", pid="3"),
    )
    status = _status(make(it, members=members, reports=said))
    assert status["active"] == "2 active, 1 failed"
    assert status["loaded"] == "loaded"
    assert not {"docs", "pid", "memory", "cgroup"} & status.keys()
    assert status["nodes"] == {"desired": 3, "ready": 2, "updated": 3, "failed": 1, "unknown": 0}
    ready = _condition(status, "Ready")
    assert (ready["status"], ready["reason"]) == ("False", "Failed")
    assert ready["message"] == "c: Failed it is"


@pytest.mark.parametrize(
    ("members", "labels", "said"),
    [
        ((), {}, "no node runs an agent"),
        (
            (member("a", namespaces=()), member("b", namespaces=("x",))),
            {"a": {}, "b": {}},
            "0 of 2 nodes allow namespace storage",
        ),
        ((member("a"),), {}, "1 of 1 nodes allow namespace storage, and none of them is selected"),
    ],
)
def test_one_that_reaches_no_node_says_what_to_do(members: Any, labels: Any, said: str) -> None:
    ready = _condition(_status(make(service(), members=members, labels=labels)), "Ready")
    assert (ready["status"], ready["reason"]) == ("False", "NoNodes")
    assert said in ready["message"]


@pytest.mark.parametrize(
    ("which", "reason", "says"),
    [
        ("lost", "NodeLost", "no heartbeat from b"),
        ("unreachable", "HostUnreachable", "Bombshell or the agent does not answer on b"),
    ],
)
def test_a_node_of_which_nothing_is_known_is_unknown(which: str, reason: str, says: str) -> None:
    it = service()
    members = tuple(member(name, assigned(it)) for name in "ab")
    said = (report(it, "a"), report(it, "b"))
    unknown: dict[str, Any] = {which: frozenset({"b"})}
    status = _status(make(it, members=members, reports=said, **unknown))
    assert status["active"] == "1 active, 1 unknown"
    ready = _condition(status, "Ready")
    assert (ready["status"], ready["reason"], ready["message"]) == ("Unknown", reason, says)


def test_a_manifest_that_cannot_be_read_says_why() -> None:
    status = _status(make(service(noSuchField=1), members=(member("a"),)))
    accepted = _condition(status, "Accepted")
    assert accepted["status"] == "False"
    assert "noSuchField" in accepted["message"]


def test_what_the_api_server_refuses_is_told() -> None:
    it = service()
    world = make(it, members=(member("a"),), problems={it.uid: "quota exceeded"})
    assert _condition(_status(world), "Ready")["message"] == "quota exceeded"


def test_a_condition_keeps_its_time_while_its_status_does() -> None:
    it = service()
    world = make(it, members=(member("a", assigned(it)),), reports=(report(it, "a"),))
    first = summary.summary(
        world, it, assignments.plan(world).placements[it.uid], "2020-01-01T00:00:00Z"
    )
    it.status.update(first)
    assert _status(world) == first


def test_a_heartbeat_that_stops_is_seen_on_our_own_clock() -> None:
    clock, versions = Clock(), {"a": "1", "b": "1", "c": "1"}
    beats = LeaseTracker(clock)
    assert beats.lost(versions, versions) == frozenset()
    for clock.now in (20.0, 39.0, 41.0):
        versions |= {"b": str(clock.now), "c": str(clock.now)}
        found = beats.lost(versions, versions)
    assert found == {"a"}
    versions["a"] = "2"
    assert beats.lost(versions, versions) == frozenset()


def test_when_most_lapse_at_once_it_is_not_they_who_were_away() -> None:
    clock, versions = Clock(), {"a": "1", "b": "1", "c": "1"}
    beats = LeaseTracker(clock)
    beats.lost(versions, versions)
    clock.now = 60.0
    assert beats.lost(versions, versions) == frozenset()
    clock.now = 90.0
    assert beats.lost(versions, versions) == {"a", "b", "c"}


def test_only_what_goes_on_may_wait_for_a_second() -> None:
    it = service()
    told = (member("a", assigned(it)),)
    assert summary.is_in_progress(_status(make(it, members=told)))
    assert not summary.is_in_progress(_status(make(it, members=told, reports=(report(it, "a"),))))
    assert not summary.is_in_progress(_status(make(it)))


def test_of_a_service_whose_every_node_is_lost_nobody_reads_active() -> None:
    it = service()
    world = make(
        it,
        members=(member("a", assigned(it)),),
        reports=(report(it, "a", active="active (running) since yesterday"),),
        lost=frozenset({"a"}),
    )
    status = summary.summary(world, it, assignments.plan(world).placements[it.uid], "")
    assert (status["active"], status["activeState"]) == ("unknown", "unknown")


@pytest.mark.parametrize("spec", [{}, {"noSuchField": 1}], ids=["accepted", "not accepted"])
def test_the_summary_has_only_the_condition_types_of_a_tambourine(spec: dict[str, Any]) -> None:
    status = _status(make(service(**spec), members=(member("a"),)))
    types = [one["type"] for one in status["conditions"]]
    assert types == ([ACCEPTED, READY] if spec else [ACCEPTED, APPLIED, READY])
