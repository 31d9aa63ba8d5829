"""events.log, services.txt, metrics.prom, status.json and the small files."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC

import msgspec
import pytest

from tambourinefs.model.status import Condition, LastCommand, StatusReport
from tambourinefs.model.unit import Unit
from tambourinefs.model.view import ServiceView
from tambourinefs.procfs.events import EventLog, EventReader, changes
from tambourinefs.procfs.render import metrics, report, tables
from tambourinefs.procfs.render.figures import Figures
from tambourinefs.procfs.render.times import Moment

UNIT = Unit(
    "a.service", id="a.service", load_state="loaded", active_state="active", sub_state="running"
)
VIEW = ServiceView(
    "local",
    "a",
    "a.service",
    uid="u",
    generation=3,
    observed_generation=2,
    unit=UNIT,
    conditions=(Condition("Ready", "True", "Ready", "all is well", 2, "2026-11-22T22:30:12Z"),),
    last_command=LastCommand("restart", "7", "done", time="2026-11-22T22:30:12Z"),
)


def log(count: int, keep: int = 100) -> EventLog:
    made = EventLog(keep)
    for number in range(count):
        add(made, f"event-{number + 1}")
    return made


def add(made: EventLog, text: str) -> None:
    made.add(1, "local/a", text)
    made.shown = made.last


def numbers(text: bytes) -> list[int]:
    return [int(line.split()[0]) for line in text.decode().splitlines()]


def test_a_reader_gets_every_event_once_in_order() -> None:
    made = log(3)
    reader = EventReader(made)
    got = reader.read(0, 65536)
    assert numbers(got) == [1, 2, 3]
    assert reader.read(len(got), 65536) == b""
    assert not reader.ready
    add(made, "more")
    ready: bool = reader.ready  # mypy takes it for what it was above
    assert ready
    assert numbers(reader.read(len(got), 65536)) == [4]


def test_small_reads_cut_lines_but_lose_nothing() -> None:
    made = log(50)
    reader = EventReader(made)
    got = b""
    while chunk := reader.read(len(got), 7):
        assert len(chunk) <= 7
        got += chunk
    assert numbers(got) == list(range(1, 51))


def test_an_interrupted_read_gets_the_same_bytes_again() -> None:
    reader = EventReader(log(3))
    first = reader.read(0, 10)
    assert reader.read(0, 10) == first
    rest = reader.read(10, 65536)
    assert numbers(first + rest) == [1, 2, 3]


def test_slow_reader_gets_a_missed_range() -> None:
    made = log(5, keep=10)
    reader = EventReader(made)
    got = reader.read(0, 65536)
    for _ in range(30):
        add(made, "x")
    lines = reader.read(len(got), 65536).decode().splitlines()
    assert lines[0] == "missed 6-25"
    assert [int(line.split()[0]) for line in lines[1:]] == list(range(26, 36))


def test_new_reader_starts_at_the_oldest_kept_event() -> None:
    assert numbers(EventReader(log(30, keep=10)).read(0, 65536)) == list(range(21, 31))


def test_hidden_events_are_not_read() -> None:
    made = log(3)
    made.add(1, "local/a", "early")
    reader = EventReader(made)
    got = reader.read(0, 65536)
    assert numbers(got) == [1, 2, 3]
    assert not reader.ready
    made.shown = made.last
    assert numbers(reader.read(len(got), 65536)) == [4]


def test_the_log_is_bounded_in_bytes_too() -> None:
    made = EventLog()
    for _ in range(20_000):
        made.add(1, "local/a", "x" * 1000)
    assert made.last - made.first < 4200


def test_changes_that_are_events() -> None:
    assert next(iter(changes(None, VIEW))) == "added"
    assert list(changes(VIEW, None)) == ["removed"]
    assert list(changes(VIEW, VIEW)) == []
    assert (
        list(changes(VIEW, replace(VIEW, journal=("line",), unit=replace(UNIT, memory_current=9))))
        == []
    )
    failed = replace(UNIT, active_state="failed", sub_state="failed", result="exit-code")
    assert list(changes(VIEW, replace(VIEW, unit=failed, observed_generation=3))) == [
        "observed-generation 2 -> 3",
        "active active (running) -> failed (Result: exit-code)",
    ]
    starting = Condition("Ready", "Unknown", "Starting", "", 3, "")
    assert list(changes(VIEW, replace(VIEW, conditions=(starting,)))) == [
        "Ready True Ready -> Unknown Starting"
    ]


def test_an_event_is_one_line_of_bounded_length() -> None:
    evil = replace(VIEW, unit=replace(UNIT, fragment_path="/x\n1 2 local/b active" + "y" * 10_000))
    (text,) = changes(VIEW, evil)
    assert "\n" not in text
    assert len(text) <= 512


def test_services_txt_has_the_same_columns_in_every_line() -> None:
    rows = [
        tables.service_row(VIEW),
        tables.service_row(ServiceView("storage", "a b", "")),
        tables.service_row(replace(VIEW, name="long" * 20)),
    ]
    lines = tables.services_text(rows).splitlines()
    assert lines[0].split() == ["NAMESPACE", "NAME", "UNIT", "ACTIVE", "PID", "READY", "GENERATION"]
    assert lines[1].split() == [
        "local",
        "a",
        "a.service",
        "active(running)",
        "-",
        "True/Ready",
        "3",
    ]
    assert lines[2].split() == ["storage", "a\\x20b", "-", "-", "-", "-", "0"]
    assert {len(line.split()) for line in lines} == {7}


def test_the_small_files() -> None:
    assert tables.conditions(VIEW) == "Ready  True  Ready  all is well\n"
    assert tables.last_command(VIEW.last_command) == (
        "command: restart\ncommandID: 7\nresult: done\ntime: 2026-11-22T22:30:12Z\n"
    )
    assert tables.last_command(None) == tables.conditions(ServiceView("a", "b", "")) == ""
    assert tables.journal(("one", "two\nthree")) == "one\ntwo\\nthree\n"


def test_status_json_is_read_back_as_it_was() -> None:
    made = report.report(VIEW, Figures(tasks=2, memory=1024), Moment(1_000_000, 1, UTC))
    assert msgspec.json.decode(report.to_json(made), type=StatusReport) == made
    assert msgspec.json.decode(report.to_json_line(made), type=StatusReport) == made
    assert made.memory == "1.0K"
    assert made.memory_current == 1024
    assert made.condition("Ready") == VIEW.conditions[0]
    assert report.to_json(made).endswith(b"}\n")
    raw = msgspec.json.decode(report.to_json(made))
    assert {"systemdName", "observedGeneration", "lastCommand", "activeState"} <= raw.keys()


def test_metrics_are_prometheus_text() -> None:
    made = metrics.MetricsText(services=1, events=7)
    for sample in metrics.samples(VIEW, Figures(tasks=2, memory=1024, cpu_nsec=1_500_000_000)):
        made.add(*sample)
    lines = made.text().splitlines()
    who = 'namespace="local",name="a",unit="a.service"'
    assert f'tambourine_service_state{{{who},state="active"}} 1' in lines
    assert f'tambourine_service_state{{{who},state="failed"}} 0' in lines
    assert f'tambourine_service_condition{{{who},type="Ready"}} 1' in lines
    assert f"tambourine_service_memory_bytes{{{who}}} 1024" in lines
    assert f"tambourine_service_cpu_seconds_total{{{who}}} 1.5" in lines
    assert "tambourine_events_total 7" in lines
    families = [line.split()[2] for line in lines if line.startswith("# TYPE")]
    assert len(families) == len(set(families))
    for line in lines:
        assert line.startswith("#") or line.split("{")[0].split()[0] in families


@pytest.mark.parametrize(
    ("value", "text"), [('a"b', '{x="a\\"b"}'), ("a\\b", '{x="a\\\\b"}'), ("a\nb", '{x="a\\\\nb"}')]
)
def test_labels_are_escaped(value: str, text: str) -> None:
    assert metrics.labels(x=value) == text
