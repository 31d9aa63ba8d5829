"""Properties become a Unit: values recorded from systemd 252, and what no recording has."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tambourinefs.agent.dbus.manager import to_release
from tambourinefs.agent.units.directories import unit_of
from tambourinefs.agent.units.fetcher import unaskable
from tambourinefs.agent.units.properties import (
    UNSET,
    from_path,
    to_path,
    to_state,
    to_unit,
    unloaded,
)
from tambourinefs.model.unit import OLDEST_RELEASE, Unit

RECORDED = Path(__file__).parent / "recorded" / "systemd_properties.json"


def recorded(name: str) -> Unit:
    properties: dict[str, Any] = {}
    for key, (_, value) in json.loads(RECORDED.read_text())[name].items():
        properties[key] = bytes.fromhex(value["bytes"]) if isinstance(value, dict) else value
    return to_unit(name, properties)


def test_a_failed_service() -> None:
    unit = recorded("fail.service")
    assert (unit.active_state, unit.sub_state, unit.result) == ("failed", "failed", "exit-code")
    assert (unit.exec_main_code, unit.exec_main_status, unit.main_pid) == (1, 3, 0)
    assert len(unit.invocation_id) == 32
    assert [(e.setting, e.code, e.status, e.ignore_failure) for e in unit.execs] == [
        ("ExecStartPre", 1, 1, True),
        ("ExecStart", 1, 3, False),
    ]
    assert unit.execs[1].argv == ("/bin/sh", "-c", "echo oops; exit 3")


def test_a_running_template_instance() -> None:
    unit = recorded("t@x.service")
    assert (unit.id, unit.names) == ("t@x.service", ("t@x.service", "al@x.service"))
    assert unit.documentation == ("man:sleep(1)", "https://x.example/")
    assert (unit.tasks_current, unit.tasks_max) == (1, 28909)
    assert unit.memory_max is None  # infinity
    assert (unit.memory_min, unit.memory_low) == (0, 0)
    assert unit.cpu_usage_nsec is None  # not accounted


def test_other_types() -> None:
    sock, timer, mount = recorded("s.socket"), recorded("w.timer"), recorded("mnt-t.mount")
    assert sock.listen == (("Stream", "/run/s.sock"), ("Stream", "127.0.0.1:7777"))
    assert (sock.accepted, sock.connections, sock.refused, sock.service_type) == (0, 0, 0, "")
    assert timer.next_elapse_realtime_usec == 1795392000000000
    assert timer.next_elapse_monotonic_usec == 6387206061
    assert timer.triggers == ("one.service",)
    assert (mount.what, mount.where, mount.service_type) == ("tmpfs", "/mnt/t", "")


def test_units_that_cannot_run() -> None:
    bad, masked, missing = (
        recorded("bad.service"),
        recorded("masked.service"),
        recorded("nope.service"),
    )
    assert (bad.load_state, masked.load_state, missing.load_state) == (
        "bad-setting",
        "masked",
        "not-found",
    )
    assert bad.load_error[1] == "Unit bad.service has a bad unit file setting."
    assert masked.unit_file_state == "masked"
    assert missing.load_error[0] == "org.freedesktop.systemd1.NoSuchUnit"
    assert all(unloaded(unit) for unit in (bad, masked, missing))
    assert not unloaded(recorded("fail.service"))


def test_conditions() -> None:
    conditions = recorded("one.service").conditions
    assert {(c.setting, c.negate, c.parameter) for c in conditions} == {
        ("ConditionPathExists", True, "/nonexistent"),
        ("ConditionPathExists", False, "/etc/passwd"),
    }


def test_unset_is_none_and_missing_properties_are_defaults() -> None:
    unit = to_unit(
        "a.service",
        {"MemoryCurrent": UNSET, "TasksCurrent": 0, "MemoryMin": UNSET},
    )
    assert (unit.memory_current, unit.tasks_current, unit.memory_min) == (None, 0, None)
    assert to_unit("a.service", {}).load_state == "not-found"


def test_a_row_of_list_units() -> None:
    row = ["a.service", "A", "loaded", "active", "running", "", "/p", 7, "start", "/j"]
    state = to_state("b.service", row)
    assert (state.name, state.id, state.active_state, state.job) == (
        "b.service",
        "a.service",
        "active",
        (7, "start"),
    )


@pytest.mark.parametrize(
    ("name", "last"),
    [
        ("dbus.service", "dbus_2eservice"),
        ("9p.mount", "_39p_2emount"),
        ("a\\x2db@c.service", "a_5cx2db_40c_2eservice"),
    ],
)
def test_object_paths_are_systemds(name: str, last: str) -> None:
    assert to_path(name) == f"/org/freedesktop/systemd1/unit/{last}"
    assert from_path(to_path(name)) == name


@given(st.text(alphabet="abzAZ059:-_.\\@", min_size=1))
def test_object_paths_come_back(name: str) -> None:
    assert from_path(to_path(name)) == name


@given(st.text())
def test_no_path_is_an_error(path: str) -> None:
    assert isinstance(from_path("/org/freedesktop/systemd1/unit/" + path), str)
    assert from_path("/x" + path) == ""


NO_NAMES = [
    "",
    "a",
    ".service",
    "a b.service",
    "a/b.service",
    "a.exe",
    "ä.service",
    "a@.service",
    "@a.service",
]


@pytest.mark.parametrize("name", [*NO_NAMES, "x" * 256 + ".service"])
def test_names_that_systemd_is_not_asked_for(name: str) -> None:
    assert unaskable(name)


@pytest.mark.parametrize(
    "name", ["a.service", "a@b.service", "-.mount", "dev-vda.device", "a\\x2db.scope"]
)
def test_names_that_it_is_asked_for(name: str) -> None:
    assert not unaskable(name)


@pytest.mark.parametrize(
    ("path", "unit"),
    [
        (b"a.service", "a.service"),
        (b"a.service.d", "a.service"),
        (b"a.service.d/10-x.conf", "a.service"),
        (b"multi-user.target.wants/a.service", "a.service"),
        (b"service.d/10-x.conf", None),
        (b"a-.service.d/10-x.conf", None),
        (b"a@.service", None),
        (b"a@b.service", "a@b.service"),
        (b"README", None),
        (b"\xff.conf", None),
        (b"", None),
    ],
)
def test_whose_file_it_is(path: bytes, unit: str | None) -> None:
    assert unit_of(path) == unit


@pytest.mark.parametrize(
    ("version", "release"),
    [
        ("252.39-1~deb12u2", 252), ("257", 257), ("v256~rc3", 256), ("257.9-1.fc42", 257),
        ("", OLDEST_RELEASE), ("rolling", OLDEST_RELEASE),
    ],
)  # fmt: skip
def test_the_release_of_a_version(version: str, release: int) -> None:
    assert to_release(version) == release
