"""A field that a node's agent does not support is never assigned to it: AgentTooOld."""

from __future__ import annotations

from typing import Any

import pytest

from tambourinefs.controller import assignments, summary
from tambourinefs.controller.snapshot import Member, Service, Snapshot
from tambourinefs.model import fields
from tests.unit.cluster_world import assigned, make, member, report, service

NOW = "2026-01-03T00:00:00Z"
FILES = [{"path": "/etc/a", "content": "x", "owner": "alice"}]
OWNER = "spec.files[].owner"
OLD = tuple(name for name in fields.known() if name != OWNER)


def _ready(world: Snapshot, it: Service) -> tuple[str, str, str]:
    status = summary.summary(world, it, assignments.plan(world).placements[it.uid], NOW)
    found = next(one for one in status["conditions"] if one["type"] == "Ready")
    return found["status"], found["reason"], found["message"]


@pytest.mark.parametrize(
    ("spec", "used"),
    [
        ({}, {"spec.name", "spec.unit", "spec.command"}),
        ({"state": "installed", "rollout": {"paused": True}, "nodeSelector": {"a": "b"}}, set()),
        ({"files": FILES}, {"spec.files", "spec.files[].path", "spec.files[].content", OWNER}),
        ({"commandID": "x", "enabled": False}, {"spec.commandID", "spec.enabled"}),
    ],
)  # fmt: skip
def test_used_fields_are_those_that_a_node_is_sent(spec: dict[str, Any], used: set[str]) -> None:
    found = service(**spec).fields
    assert used <= found
    assert found - used <= {"spec.name", "spec.unit", "spec.command", "spec.files[].content"}
    assert found <= set(fields.known())


def test_an_unsupported_field_is_not_assigned() -> None:
    it = service(files=FILES)
    world = make(it, members=(member("new", fields=fields.known()), member("old", fields=OLD)))
    found = assignments.plan(world)
    assert set(found.assignments["new"]) == {it.uid}
    assert found.assignments["old"] == {}
    status, reason, message = _ready(world, it)
    assert (status, reason) == ("False", "AgentTooOld")
    assert message.startswith(
        f"old: Tambourine 0.0.9 does not support {OWNER}; the node keeps the previous version"
    )


def test_the_node_keeps_the_previous_version_and_the_rollout_goes_on() -> None:
    before = service()
    it = service(generation=2, files=FILES)
    members = (
        member("a", assigned(before), fields=OLD),
        member("b", assigned(before), fields=fields.known()),
        member("c", assigned(before), fields=fields.known()),
    )
    said = tuple(report(before, name) for name in "abc")
    world = make(it, members=members, reports=said)
    found = assignments.plan(world)
    digests = [found.assignments[name][it.uid].digest for name in "abc"]
    assert digests == [before.digest, it.digest, before.digest]  # c waits for b, not for a
    assert found.placements[it.uid].outdated == ("c",)


def test_without_the_field_or_with_a_newer_agent_it_goes_on() -> None:
    before, it = service(), service(generation=2, files=FILES)
    said = (report(before, "a"),)
    newer: Member = member("a", assigned(before), fields=fields.known())
    after = assignments.plan(make(it, members=(newer,), reports=said))
    assert after.assignments["a"][it.uid].digest == it.digest
    without = service(generation=3, unit="[Service]\nExecStart=/bin/false\n")
    after = assignments.plan(
        make(without, members=(member("a", assigned(before), fields=OLD),), reports=said)
    )
    assert after.assignments["a"][it.uid].digest == without.digest


def test_deleting_one_reaches_every_agent() -> None:
    before = service()
    it = service(generation=2, files=FILES, deleted="2026-01-02T00:00:00Z")
    found = assignments.plan(make(it, members=(member("a", assigned(before), fields=OLD),)))
    assert found.assignments["a"][it.uid].state == "absent"


def test_an_agent_that_reports_no_fields_is_assigned_everything() -> None:
    it = service(files=FILES)
    found = assignments.plan(make(it, members=(member("a"),)))
    assert set(found.assignments["a"]) == {it.uid}
