"""Which node is assigned what: targets, first installs, rollouts, tombstones."""

from __future__ import annotations

from typing import Any

import pytest

from tambourinefs.controller import assignments, rollout
from tambourinefs.controller.snapshot import Service
from tambourinefs.model.schema import Rollout
from tests.unit.cluster_world import assigned, make, member, report, service

NEW_UNIT = "[Service]\nExecStart=/bin/false\n"


def _has(found: assignments.Plan, name: str, of: Service) -> str:
    """What node `name` is assigned: its digest, or absent, released, nothing."""
    entry = found.assignments[name].get(of.uid)
    if entry is None:
        return "nothing"
    return entry.digest if entry.state == "installed" else entry.state


@pytest.mark.parametrize(
    ("spec", "labels", "chosen"),
    [
        ({}, {"a": {}, "b": {}}, ["a", "b"]),
        ({"nodeName": "b"}, {"a": {}, "b": {}}, ["b"]),
        ({"nodeSelector": {"disk": "ssd"}}, {"a": {"disk": "ssd"}, "b": {"disk": "hdd"}}, ["a"]),
        ({"nodeSelector": {"disk": "ssd", "x": "y"}}, {"a": {"disk": "ssd"}, "b": {}}, []),
        ({"nodeName": "c"}, {"a": {}, "b": {}}, []),
        ({}, {"a": {}}, ["a"]),  # b has an agent and no Node
    ],
)
def test_nodes_are_selected_by_the_labels_of_the_node(
    spec: dict[str, Any], labels: dict[str, dict[str, str]], chosen: list[str]
) -> None:
    it = service(**spec)
    found = assignments.plan(make(it, members=(member("a"), member("b")), labels=labels))
    assert list(found.placements[it.uid].targets) == chosen
    assert [name for name in "ab" if _has(found, name, it) == it.digest] == chosen


@pytest.mark.parametrize(
    ("namespaces", "allowed"),
    [(("storage",), True), (("*",), True), (("other",), False), ((), False), (("local",), False)],
)
def test_only_a_host_that_allows_the_namespace_gets_it(
    namespaces: tuple[str, ...], allowed: bool
) -> None:
    it = service()
    found = assignments.plan(make(it, members=(member("a", namespaces=namespaces),)))
    assert (_has(found, "a", it) == it.digest) is allowed
    assert found.placements[it.uid].allowing == allowed


def test_a_first_installation_goes_everywhere_at_once() -> None:
    it = service(rollout={"maxUnavailable": 1})
    members = tuple(member(f"n{number}") for number in range(50))
    found = assignments.plan(make(it, members=members))
    assert all(_has(found, one.name, it) == it.digest for one in members)


def _edited(nodes: int, *, reports: Any = (), **more: Any) -> tuple[Service, assignments.Plan]:
    """A Tambourine whose unit changed, on nodes that all have the old one; `more` is the new one's spec."""
    old = service()
    new = service(generation=2, unit=NEW_UNIT, **more)
    members = tuple(member(f"n{number}", assigned(old)) for number in range(nodes))
    said = reports or tuple(report(old, one.name) for one in members)
    return new, assignments.plan(make(new, members=members, reports=said))


@pytest.mark.parametrize(
    ("bound", "nodes", "at_once"), [(1, 10, 1), (3, 10, 3), ("25%", 10, 2), ("5%", 10, 1), ("100%", 10, 10)]
)  # fmt: skip
def test_a_change_updates_max_unavailable_nodes_at_a_time(
    bound: Any, nodes: int, at_once: int
) -> None:
    it, found = _edited(nodes, rollout={"maxUnavailable": bound})
    got = [name for name in found.assignments if _has(found, name, it) == it.digest]
    assert len(got) == at_once
    assert len(found.placements[it.uid].outdated) == nodes - at_once


def test_percentages_are_rounded_down_to_at_least_one() -> None:
    assert rollout.max_unavailable(Rollout(max_unavailable="33%"), 10) == 3
    assert rollout.max_unavailable(Rollout(max_unavailable="1%"), 10) == 1
    assert rollout.max_unavailable(Rollout(max_unavailable=0), 10) == 1


def test_a_paused_rollout_updates_no_node() -> None:
    it, found = _edited(3, rollout={"paused": True})
    assert not any(_has(found, name, it) == it.digest for name in found.assignments)
    assert "paused" in found.placements[it.uid].stopped


def test_the_next_node_waits_until_the_one_before_is_ready() -> None:
    old, new = service(), service(generation=2, unit=NEW_UNIT)
    members = (member("a", assigned(new)), member("b", assigned(old)))
    for said, goes in (
        ((report(old, "a"), report(old, "b")), False),  # a has not observed it
        ((report(new, "a", "Unknown", "Starting"), report(old, "b")), False),
        ((report(new, "a"), report(old, "b")), True),
    ):
        found = assignments.plan(make(new, members=members, reports=said))
        assert (_has(found, "b", new) == new.digest) is goes


def test_the_next_node_waits_until_the_one_before_is_available() -> None:
    old, new = service(), service(generation=2, unit=NEW_UNIT)
    members = (member("a", assigned(new)), member("b", assigned(old)))
    said = (report(new, "a"), report(old, "b"))
    available_at = {(new.uid, "a"): 1.0, ("another", "b"): 1.0}
    found = assignments.plan(make(new, members=members, reports=said, available_at=available_at))
    assert _has(found, "b", new) == old.digest
    assert found.placements[new.uid].outdated == ("b",)
    assert not found.placements[new.uid].stopped


def test_a_failure_stops_the_rollout_and_names_the_node() -> None:
    old, new = service(), service(generation=2, unit=NEW_UNIT, rollout={"maxUnavailable": 5})
    members = (member("a", assigned(new)), member("b", assigned(old)), member("c", assigned(old)))
    said = (report(new, "a", "False", "Failed"), report(old, "b"), report(old, "c"))
    found = assignments.plan(make(new, members=members, reports=said))
    placement = found.placements[new.uid]
    assert placement.stopped == "a is not ready with this change: Failed: Failed it is"
    assert placement.outdated == ("b", "c")


def test_a_newer_edit_updates_the_failed_node_first() -> None:
    old = service()
    bad = service(generation=2, unit=NEW_UNIT)
    fix = service(generation=3, unit="[Service]\nExecStart=/bin/sleep 1\n")
    members = (member("a", assigned(old)), member("b", assigned(bad)))
    said = (report(old, "a"), report(bad, "b", "False", "Failed"))
    found = assignments.plan(make(fix, members=members, reports=said))
    assert (_has(found, "a", fix), _has(found, "b", fix)) == (old.digest, fix.digest)


def test_a_lost_node_neither_stops_nor_counts() -> None:
    old, new = service(), service(generation=2, unit=NEW_UNIT)
    members = (member("a", assigned(new)), member("b", assigned(old)), member("c", assigned(old)))
    said = (report(new, "a", "False", "Failed"), report(old, "b"), report(old, "c"))
    found = assignments.plan(make(new, members=members, reports=said, lost=frozenset({"a", "b"})))
    assert not found.placements[new.uid].stopped
    # b is assigned it for when it is back; c is the one that may be unavailable.
    assert [_has(found, name, new) == new.digest for name in "abc"] == [True, True, True]


def test_a_change_without_effect_on_the_host_is_assigned_at_once() -> None:
    old, new = service(), service(generation=2, rollout={"maxUnavailable": 7})
    assert old.digest == new.digest
    members = tuple(member(name, assigned(old)) for name in "abc")
    found = assignments.plan(make(new, members=members))
    assert {found.assignments[name][new.uid].generation for name in "abc"} == {2}


def test_a_deselected_node_gets_a_tombstone() -> None:
    it = service(generation=2, nodeSelector={"disk": "ssd"})
    labels = {"a": {}, "b": {"disk": "ssd"}}
    members = (member("a", assigned(service())), member("b", assigned(it)))
    found = assignments.plan(make(it, members=members, labels=labels))
    assert (_has(found, "a", it), _has(found, "b", it)) == ("absent", it.digest)


@pytest.mark.parametrize(
    ("namespaces", "labels"),
    [((), {"a": {"disk": "hdd"}}), (("*",), {})],
    ids=["the host allows it no more", "the Node is gone"],
)
def test_only_a_changed_selection_removes_it(
    namespaces: tuple[str, ...], labels: dict[str, dict[str, str]]
) -> None:
    it = service(nodeSelector={"disk": "ssd"})
    it_there = member("a", assigned(it), namespaces=namespaces)
    found = assignments.plan(make(it, members=(it_there,), labels=labels))
    assert _has(found, "a", it) == it.digest


def test_a_missing_object_is_not_an_order() -> None:
    it = service()
    found = assignments.plan(make(members=(member("a", assigned(it)),)))
    assert _has(found, "a", it) == it.digest


@pytest.mark.parametrize(("policy", "state"), [("uninstall", "absent"), ("orphan", "released")])
def test_a_deleted_one_is_uninstalled_or_released_on_every_assigned_node(
    policy: str, state: str
) -> None:
    before = service(deletionPolicy=policy)
    it = service(generation=2, deleted="2026-01-02T00:00:00Z", deletionPolicy=policy)
    members = (member("a", assigned(before)), member("b", assigned(before)), member("c"))
    found = assignments.plan(make(it, members=members, labels={"a": {}}))
    assert [_has(found, name, it) for name in "abc"] == [state, state, "nothing"]


def test_a_deletion_that_is_not_intended_is_not_an_order() -> None:
    it = service(generation=2, deleted="2026-01-02T00:00:00Z")
    there = member("a", assigned(service()))
    found = assignments.plan(make(it, members=(there,), deletions_intended=False))
    assert _has(found, "a", it) == service().digest


def test_a_tombstone_stays_until_it_is_acknowledged() -> None:
    tomb = assigned(service(), state="absent", generation=2)
    waiting = assignments.plan(make(members=(member("a", tomb),)))
    assert waiting.assignments["a"] == {tomb.uid: tomb}
    done = assignments.plan(make(members=(member("a", tomb, acknowledged=(tomb,)),)))
    assert done.assignments["a"] == {}


def test_recreated_under_its_name_both_are_assigned() -> None:
    old, new = service(uid="old"), service(uid="new")
    tomb = assigned(old, state="absent", generation=2)
    found = assignments.plan(make(new, members=(member("a", tomb),)))
    assert _has(found, "a", old) == "absent"
    assert _has(found, "a", new) == new.digest


def test_an_installation_replaces_a_tombstone() -> None:
    it = service(generation=3)
    tomb = assigned(it, state="absent", generation=2)
    found = assignments.plan(make(it, members=(member("a", tomb),)))
    assert _has(found, "a", it) == it.digest
    assert found.assignments["a"][it.uid].generation == 3


def test_a_node_with_an_older_change_in_progress_is_updated_first() -> None:
    first = service()
    second = service(generation=2, unit=NEW_UNIT)
    third = service(generation=3, unit="[Service]\nExecStart=/bin/sleep 3\n")
    # b is assigned the second edit and has not observed it: its report is of the first.
    members = (
        member("a", assigned(first)), member("b", assigned(second)), member("c", assigned(first)),
    )  # fmt: skip
    said = tuple(report(first, name) for name in "abc")
    found = assignments.plan(make(third, members=members, reports=said))
    has = [_has(found, name, third) for name in "abc"]
    assert has == [first.digest, third.digest, first.digest]


@pytest.mark.parametrize(("policy", "state"), [("uninstall", "absent"), ("orphan", "released")])
def test_one_that_this_release_cannot_read_is_removed_by_its_deletion_policy(
    policy: str, state: str
) -> None:
    before = service(deletionPolicy=policy)
    newer = service(
        generation=2, deleted="2026-01-02T00:00:00Z", deletionPolicy=policy, fieldOfTomorrow="x"
    )
    assert newer.spec is None
    found = assignments.plan(make(newer, members=(member("a", assigned(before)),)))
    assert _has(found, "a", newer) == state
