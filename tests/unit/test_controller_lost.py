"""A silent node: its former state is no longer shown, and its statuses are requested again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tambourinefs.controller.loop import Controller
from tambourinefs.controller.snapshot import Member
from tambourinefs.kube.resources import Resource
from tambourinefs.model import cluster
from tambourinefs.model.status import Condition
from tests.unit import cluster_world
from tests.unit.cluster_world import make, report, service

IT = service()
SINCE = "2026-01-01T00:00:09Z"


class _Api:
    """Keeps what is written."""

    def __init__(self) -> None:
        self.statuses: dict[str, Any] = {}
        self.asked: dict[str, str] = {}

    def apply_status(
        self, resource: Resource, metadata: dict[str, Any], status: dict[str, Any], **_: Any
    ) -> dict[str, Any]:
        self.statuses[f"{resource.kind} {metadata['name']}"] = status
        return {"metadata": {**metadata, "resourceVersion": "2"}, "status": status}

    def merge(self, _: object, name: str, __: str, patch: dict[str, Any]) -> dict[str, Any]:
        self.asked[name] = patch["metadata"]["annotations"][cluster.RESYNC_REQUESTED_AT]
        return {"metadata": {"name": name, "resourceVersion": "3", **patch["metadata"]}}


def _member(name: str, status: str, reason: str) -> Member:
    made = cluster_world.member(name)
    ready = Condition("Ready", status, reason, "", 0, SINCE)
    return Member(
        name,
        "1",
        (),
        cluster.NodeStatus(version="1", conditions=(ready,)),
        made.resync_requested_at,
    )


@pytest.fixture
def api() -> _Api:
    return _Api()


@pytest.fixture
def controller(api: _Api) -> Iterator[Controller]:
    made = Controller(api, None)  # type: ignore[arg-type]
    yield made
    made._writers.close()


def test_of_a_silent_node_nobody_reads_active_nor_that_it_is_ready(
    api: _Api, controller: Controller
) -> None:
    members = (_member("dead", "True", "Ready"), _member("alive", "True", "Ready"))
    reports = (report(IT, "dead"), report(IT, "alive"))
    controller._mark_silent_nodes(
        make(IT, members=members, reports=reports, lost=frozenset({"dead"}))
    )
    assert set(api.statuses) == {"TambourineInstance zfs.dead", "TambourineNode dead"}
    for status in api.statuses.values():
        (ready,) = status["conditions"]
        assert (ready["type"], ready["status"], ready["reason"]) == ("Ready", "Unknown", "NodeLost")
    assert api.statuses["TambourineInstance zfs.dead"]["active"] == "unknown"
    assert set(api.statuses["TambourineNode dead"]) == {"conditions"}
    assert api.asked == {}


def test_of_a_host_that_does_not_answer_its_sync_speaks_for_itself_and_not_for_its_services(
    api: _Api, controller: Controller
) -> None:
    member = _member("h1", "False", "HostUnreachable")
    reports = (report(IT, "h1"),)
    controller._mark_silent_nodes(
        make(IT, members=(member,), reports=reports, unreachable=frozenset({"h1"}))
    )
    assert set(api.statuses) == {"TambourineInstance zfs.h1"}
    status = api.statuses["TambourineInstance zfs.h1"]
    assert status["active"] == "unknown"
    (ready,) = status["conditions"]
    assert (ready["status"], ready["reason"]) == ("Unknown", "HostUnreachable")
    assert "tambourine doctor" in ready["message"]
    assert member.is_unreachable
    assert not _member("h1", "True", "Ready").is_unreachable


def test_it_is_said_once(api: _Api, controller: Controller) -> None:
    members = (_member("dead", "Unknown", "NodeLost"), cluster_world.member("never-spoke"))
    reports = (report(IT, "dead", "Unknown", "NodeLost", active_state="unknown"),)
    lost = frozenset({"dead", "never-spoke"})
    controller._mark_silent_nodes(make(IT, members=members, reports=reports, lost=lost))
    assert api.statuses == {}
    assert api.asked == {}


@pytest.mark.parametrize("of", ["NodeLost", "HostUnreachable", "itself"])
def test_a_node_that_is_heard_again_is_asked_for_its_word_once(
    of: str, api: _Api, controller: Controller
) -> None:
    said = ("Unknown", "NodeLost") if of == "itself" else ("True", "Ready")
    reports = (report(IT, "back"),)
    if of != "itself":
        reports = (report(IT, "back", "Unknown", of, active_state="unknown"),)
        conditions = tuple(
            Condition(one.type, one.status, one.reason, "", 1, SINCE)
            for one in reports[0].status.conditions
        )
        reports = (report(IT, "back", active_state="unknown", conditions=conditions),)
    member = _member("back", *said)
    controller._mark_silent_nodes(make(IT, members=(member,), reports=reports))
    assert api.asked == {"back": SINCE}
    assert api.statuses == {}
    api.asked.clear()
    asked = Member("back", "3", (), member.status, SINCE)
    controller._mark_silent_nodes(make(IT, members=(asked,), reports=reports))
    assert api.asked == {}
