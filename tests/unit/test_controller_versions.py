"""What an agent of another release does not know never reaches it, and the Tambourine says so (DESIGN: CRDs)."""

from __future__ import annotations

from typing import Any

import pytest

from tambourinefs.controller import fanout, summary
from tambourinefs.controller.world import Member, Service, World
from tambourinefs.model import fields
from tests.unit.cluster_world import assigned, make, member, report, service

NOW = "2026-01-03T00:00:00Z"
FILES = [{"path": "/etc/a", "content": "x", "owner": "alice"}]
OWNER = "spec.files[].owner"
OLD = tuple(name for name in fields.known() if name != OWNER)


def _ready(world: World, it: Service) -> tuple[str, str, str]:
    status = summary.summary(world, it, fanout.wanted(world).spreads[it.uid], NOW)
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
def test_what_is_left_out_or_not_for_nodes_is_not_used(
    spec: dict[str, Any], used: set[str]
) -> None:
    found = service(**spec).fields
    assert used <= found
    assert found - used <= {"spec.name", "spec.unit", "spec.command", "spec.files[].content"}
    assert found <= set(fields.known())


def test_a_field_that_the_agent_does_not_know_does_not_reach_it() -> None:
    it = service(files=FILES)
    world = make(it, members=(member("new", fields=fields.known()), member("old", fields=OLD)))
    found = fanout.wanted(world)
    assert set(found.assignments["new"]) == {it.uid}
    assert found.assignments["old"] == {}
    status, reason, message = _ready(world, it)
    assert (status, reason) == ("False", "AgentTooOld")
    assert message.startswith(
        f"old: its Tambourine 0.0.9 does not know {OWNER}; what is there stays"
    )


def test_it_keeps_what_it_had_and_holds_up_no_other() -> None:
    before = service()
    it = service(generation=2, files=FILES)
    members = (
        member("a", assigned(before), fields=OLD),
        member("b", assigned(before), fields=fields.known()),
        member("c", assigned(before), fields=fields.known()),
    )
    said = tuple(report(before, name) for name in "abc")
    world = make(it, members=members, reports=said)
    found = fanout.wanted(world)
    digests = [found.assignments[name][it.uid].digest for name in "abc"]
    assert digests == [before.digest, it.digest, before.digest]  # c waits for b, not for a
    assert found.spreads[it.uid].waiting == ("c",)


def test_without_the_field_or_with_a_newer_agent_it_goes_on() -> None:
    before, it = service(), service(generation=2, files=FILES)
    said = (report(before, "a"),)
    newer: Member = member("a", assigned(before), fields=fields.known())
    after = fanout.wanted(make(it, members=(newer,), reports=said))
    assert after.assignments["a"][it.uid].digest == it.digest
    without = service(generation=3, unit="[Service]\nExecStart=/bin/false\n")
    after = fanout.wanted(
        make(without, members=(member("a", assigned(before), fields=OLD),), reports=said)
    )
    assert after.assignments["a"][it.uid].digest == without.digest


def test_deleting_one_reaches_every_agent() -> None:
    before = service()
    it = service(generation=2, files=FILES, deleted="2026-01-02T00:00:00Z")
    found = fanout.wanted(make(it, members=(member("a", assigned(before), fields=OLD),)))
    assert found.assignments["a"][it.uid].state == "absent"


def test_an_agent_of_before_fields_were_told_is_sent_everything() -> None:
    it = service(files=FILES)
    found = fanout.wanted(make(it, members=(member("a"),)))
    assert set(found.assignments["a"]) == {it.uid}
