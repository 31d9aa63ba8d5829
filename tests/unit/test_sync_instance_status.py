"""When a status is worth a write, which changes make events, and how events are bounded."""

from __future__ import annotations

from typing import Any

import pytest

from tambourinefs.errors import NotFound
from tambourinefs.kube import events
from tambourinefs.kube.events import Recorder, Regarding
from tambourinefs.kube.resources import INSTANCES
from tambourinefs.model import statusevents
from tambourinefs.sync import instance_status
from tambourinefs.sync.instance_status import Written

M = 1 << 20
BEFORE = Written({"activeState": "active", "pid": "1", "memory": "4M"}, at=0.0, memory=4 * M)


@pytest.mark.parametrize(
    ("active", "ends"),
    [
        ("active (running) since Fri 2021-03-05 13:38:11 PST; 1 day 21h ago", "13:38:11 PST"),
        ("active (exited) since Fri 2021-03-05 13:38:11 PST; 3s ago", "13:38:11 PST"),
        ("inactive (dead)", "inactive (dead)"),
        ("failed (Result: exit-code) since Fri 2021-03-05 13:38:11 PST; 5min ago", "PST"),
    ],
)
def test_the_age_stays_on_the_host(active: str, ends: str) -> None:
    assert instance_status.without_age(active).endswith(ends)


@pytest.mark.parametrize(
    ("status", "memory", "now", "due"),
    [
        ({}, 4 * M, 0.1, False),
        ({"activeState": "failed"}, 4 * M, 0.1, True),
        ({"pid": "1 (sleep)"}, 4 * M, 0.1, True),  # after its exec, or another process: no figure
        ({"tasks": "2"}, 4 * M, 1e6, False),  # figures alone: only after memory moved by a quarter
        ({"memory": "4.9M"}, int(4.9 * M), 1e6, False),
        ({"memory": "6M"}, 6 * M, 599.0, False),
        ({"memory": "6M"}, 6 * M, 601.0, True),
    ],
)
def test_what_is_due(status: dict[str, Any], memory: int, now: float, due: bool) -> None:
    assert instance_status.is_due(BEFORE, BEFORE.status | status, memory, now) is due


def test_a_start_is_told_at_once_and_a_flapping_unit_once_a_second() -> None:
    written, count = None, 0
    for now in (step / 100 for step in range(1000)):  # ten seconds
        if instance_status.may_write(written, now):
            written, count = instance_status.written(written, {}, now, 0), count + 1
    assert 4 + 9 <= count <= 4 + 10


def _condition(kind: str, status: str, reason: str) -> dict[str, Any]:
    return {"type": kind, "status": status, "reason": reason, "message": f"{reason}!"}


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        (None, ("Ready", "True", "Ready"), ["Ready"]),
        (("Ready", "True", "Ready"), ("Ready", "True", "Ready"), []),
        (("Ready", "True", "Ready"), ("Ready", "Unknown", "Progressing"), []),
        (("Ready", "True", "Ready"), ("Ready", "False", "Failed"), ["Failed"]),
        (("Ready", "False", "Failed"), ("Ready", "False", "RolloutStopped"), ["RolloutStopped"]),
        (None, ("Accepted", "True", "Accepted"), []),
        (None, ("Accepted", "False", "NameConflict"), ["NameConflict"]),
        (None, ("Applied", "False", "ApplyFailed"), []),
    ],
)
def test_a_changed_condition_makes_an_event(before: Any, after: Any, told: list[str]) -> None:
    old = {"conditions": [_condition(*before)]} if before else {}
    found = statusevents.of_conditions(old, {"conditions": [_condition(*after)]})
    assert [one.reason for one in found] == told


def test_a_finished_command_makes_one_event() -> None:
    done = {"lastCommand": {"command": "restart", "commandID": "x", "result": "done"}}
    running = {"lastCommand": {"command": "restart", "commandID": "x", "result": "running"}}
    assert [one.note for one in statusevents.of_command(running, done)] == ["restart (x): done"]
    assert statusevents.of_command(done, done) == []
    assert statusevents.of_command({}, running) == []


class _Api:
    """What the recorder asks of the API server; `gone` events are not there any more."""

    def __init__(self) -> None:
        self.made: dict[str, dict[str, Any]] = {}
        self.counted: list[int] = []

    def create(self, _: object, item: dict[str, Any]) -> dict[str, Any]:
        self.made[item["metadata"]["name"]] = item
        return item

    def merge(self, _: object, name: str, __: str, patch: dict[str, Any]) -> dict[str, Any]:
        if name not in self.made:
            raise NotFound(name)
        self.counted.append(patch["series"]["count"])
        return patch


def _say(recorder: Recorder, note: str, uid: str = "u") -> None:
    recorder.event(Regarding(INSTANCES, "d", "n", uid), "Warning", "Failed", note)
    item = recorder._queue.get_nowait()
    assert item is not None
    recorder._write(item)


def test_the_same_event_becomes_a_series_and_many_are_dropped() -> None:
    api, now = _Api(), [0.0]
    recorder = Recorder(api, "tambourine.dev/sync", "h1", lambda: now[0])  # type: ignore[arg-type]
    for second in range(60):
        now[0] = float(second)
        _say(recorder, "it failed")
    assert len(api.made) == 1
    assert len(api.counted) <= 6
    assert api.counted[-1] > 40
    for number in range(200):
        _say(recorder, f"another {number}", uid="other")
    assert len(api.made) == 1 + events.BURST


def test_an_event_that_is_gone_is_made_anew() -> None:
    api, now = _Api(), [0.0]
    recorder = Recorder(api, "tambourine.dev/sync", "h1", lambda: now[0])  # type: ignore[arg-type]
    _say(recorder, "it failed")
    api.made.clear()
    now[0] = 4000.0
    _say(recorder, "it failed")
    assert len(api.made) == 1


def test_what_waits_is_bounded() -> None:
    recorder = Recorder(_Api(), "tambourine.dev/sync", "h1")  # type: ignore[arg-type]
    for number in range(10 * events.WAITING):
        recorder.event(Regarding(INSTANCES, "d", "n", "u"), "Normal", "Ready", str(number))
    assert recorder._queue.qsize() == events.WAITING
    recorder.close()
