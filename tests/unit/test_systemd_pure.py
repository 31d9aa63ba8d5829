"""Notifications, results of jobs that ended unseen, lines of a journal, findings of verify: all pure."""

from __future__ import annotations

import datetime as dt
import time
from dataclasses import replace

import pytest
import trio
import trio.testing

from tambourinefs.agent.admission.findings import Draft, sort_findings
from tambourinefs.agent.dbus.connection import CallFailed
from tambourinefs.agent.dbus.manager import translate
from tambourinefs.agent.journal.lines import MESSAGE_MAX, of_invocation, to_lines
from tambourinefs.agent.ports import (
    ChangeNotifications,
    Changes,
    JobRefused,
    NotPermitted,
    SystemdRefused,
    SystemdUnavailable,
    UnitLoadFailed,
    UnitMasked,
    UnitNotFound,
)
from tambourinefs.agent.units import changes as changes_module
from tambourinefs.agent.units.changes import UnitChanges
from tambourinefs.agent.units.jobs import inferred
from tambourinefs.model.unit import Unit


@pytest.mark.trio
async def test_a_name_that_is_notified_often_is_taken_once() -> None:
    changes: ChangeNotifications = UnitChanges()
    for _ in range(100_000):
        changes.notify(["a.service"])
    changes.notify(["b.service"], loaded=["c.service"])
    taken = Changes(frozenset({"a.service", "b.service"}), frozenset({"c.service"}))
    assert await changes.wait() == taken
    assert changes.take() == Changes()
    changes.notify(everything=True)
    assert (await changes.wait()).everything


@pytest.mark.trio
async def test_too_many_names_are_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes_module, "NAMES_MAX", 10)
    changes = UnitChanges()
    for number in range(6):
        changes.notify([str(number)], loaded=[str(number)])
    assert await changes.wait() == Changes(everything=True)


@pytest.mark.trio
async def test_a_waiter_wakes_when_another_has_taken_what_was_notified() -> None:
    changes = UnitChanges()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(changes.wait)
        await trio.testing.wait_all_tasks_blocked()
        changes.notify(["a.service"])
        assert changes.take().names == {"a.service"}


SENT = 1000
BEFORE = Unit("a.service", "a.service", load_state="loaded", result="success")


@pytest.mark.parametrize(
    ("kind", "values", "result"),
    [
        ("stop", {"active_state": "inactive"}, "done"),
        ("stop", {"active_state": "active"}, "unknown"),
        ("start", {"active_state": "active"}, "done"),
        (
            "start",
            {"active_state": "failed", "result": "exit-code", "state_change_usec": SENT},
            "failed",
        ),
        (
            "start",
            {"active_state": "failed", "result": "timeout", "state_change_usec": SENT},
            "timeout",
        ),
        ("start", {"active_state": "failed", "state_change_usec": SENT - 1}, "unknown"),
        ("start", {"inactive_exit_usec": SENT, "inactive_enter_usec": SENT + 5}, "done"),
        ("start", {"inactive_exit_usec": SENT - 5, "inactive_enter_usec": SENT - 1}, "unknown"),
        ("start", {"condition_result": False, "condition_usec": SENT}, "done"),
        ("start", {}, "unknown"),
        ("restart", {"active_state": "active", "inactive_exit_usec": SENT}, "done"),
        ("restart", {"active_state": "active", "inactive_exit_usec": SENT - 1}, "unknown"),
        ("reload", {"active_state": "active"}, "unknown"),
        ("", {"active_state": "active"}, "unknown"),
    ],
)
def test_a_result_is_inferred_only_where_the_unit_proves_it(
    kind: str, values: dict[str, object], result: str
) -> None:
    assert inferred(kind, SENT, replace(BEFORE, **values)) == result  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("org.freedesktop.systemd1.NoSuchUnit", UnitNotFound),
        ("org.freedesktop.systemd1.UnitMasked", UnitMasked),
        ("org.freedesktop.systemd1.BadUnitSetting", UnitLoadFailed),
        ("org.freedesktop.systemd1.JobTypeNotApplicable", JobRefused),
        ("org.freedesktop.systemd1.ShuttingDown", JobRefused),
        ("org.freedesktop.systemd1.SomethingNew", SystemdRefused),
        ("org.freedesktop.DBus.Error.FileNotFound", UnitNotFound),
        ("org.freedesktop.DBus.Error.AccessDenied", NotPermitted),
        ("org.freedesktop.DBus.Error.NoReply", SystemdUnavailable),
        ("org.freedesktop.DBus.Error.ServiceUnknown", SystemdUnavailable),
        ("org.freedesktop.DBus.Error.Spawn.ChildExited", SystemdUnavailable),
        ("", SystemdRefused),
    ],
)
def test_errors_have_one_name_inside(name: str, error: type[Exception]) -> None:
    made = translate(CallFailed(name, "why"), "StartUnit a.service")
    assert type(made) is error
    assert str(made) == "StartUnit a.service: why"
    assert getattr(made, "may_have_happened", False) is name.endswith("NoReply")


def entry(message: object, **fields: object) -> dict[str, object]:
    stamp = dt.datetime(2026, 11, 22, 22, 1, 2)  # noqa: DTZ001 (systemd-python's are local)
    return {
        "MESSAGE": message,
        "__REALTIME_TIMESTAMP": stamp,
        "_HOSTNAME": "h",
        "_COMM": "c",
        **fields,
    }


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("plain", ["plain"]),
        ("tab\tand \x1b[31mred\x1b[0m  ", ["tab        and red"]),
        ("two\nlines", ["two", "lines"]),
        ("bell\x07", ["[5B blob data]"]),
        (b"\xff\xfe", ["[2B blob data]"]),
        ("", [""]),
        (["first", "second"], ["first"]),
        ("ü" * MESSAGE_MAX, ["ü" * (MESSAGE_MAX // 2) + "…"]),
        ("x" + "ü" * MESSAGE_MAX, ["x" + "ü" * (MESSAGE_MAX // 2 - 1) + "…"]),
    ],
)
def test_journal_lines_are_journalctls(message: object, shown: list[str]) -> None:
    prefix = "Nov 22 22:01:02 h c[7]: "
    lines = to_lines(entry(message, _PID="7"))
    assert lines == [prefix + shown[0], *(" " * len(prefix) + line for line in shown[1:])]


def test_the_source_of_a_line() -> None:
    stamp = int(time.mktime((2026, 1, 2, 3, 4, 5, 0, 0, -1))) * 1_000_000
    (line,) = to_lines(
        entry("m", SYSLOG_IDENTIFIER="id", SYSLOG_PID="3", _SOURCE_REALTIME_TIMESTAMP=stamp)
    )
    assert line == "Jan 02 03:04:05 h id[3]: m"


def test_entries_without_a_mark_belong_to_what_is_around_them() -> None:
    """Letters are invocations by PID 1's word or a process's mark, "-" has none; newest first."""

    def lines(marks: str, invocation: str) -> str:
        fields = [
            {"_SYSTEMD_INVOCATION_ID": m} if m.islower() else {"INVOCATION_ID": m.lower()}
            for m in marks
        ]
        entries = [
            {} if m == "-" else f | {"n": n}
            for n, (m, f) in enumerate(zip(marks, fields, strict=True))
        ]
        found = list(of_invocation(entries, invocation, 100))
        return "".join("-" if "n" not in e else marks[e["n"]] for e in found)

    assert lines("B-bB-AaA", "b") == "B-bB"
    assert lines("--bB-A", "b") == "--bB"  # the newest of all
    assert lines("-C-cCB--bB-A", "b") == "B--bB"
    assert lines("-CcC-A-a-A-", "a") == "-A-a-A"
    assert lines("CcC", "a") == ""
    assert lines("---", "a") == ""


STAGE = "/run/stage"


def test_findings_go_to_their_drafts() -> None:
    output = "\n".join(
        [
            f"{STAGE}/a.service:3: Unknown key 'Foo' in section [Service], ignoring.",
            f"{STAGE}/a.service:3: Unknown key 'Foo' in section [Service], ignoring.",
            f"{STAGE}/b.service.d/x.conf:2: Unknown section 'Bogus'. Ignoring.",
            "b.service: Service has no ExecStart=, ExecStop=, or SuccessAction=. Refusing.",
            "Unit b.service has a bad unit file setting.",
            "/usr/lib/systemd/system/other.service:9: Unknown key 'X' in section [Unit], ignoring.",
            "other.service: Command /x is not executable: No such file or directory",
            "c@i.service: Command /opt/c is not executable: No such file or directory",
            "d.service: Command /opt/d is not executable: No such file or directory",
            "Unit e.service is masked.",
        ]
    )
    batch = [
        Draft("a.service"),
        Draft("b.service"),
        Draft("c@.service", files=("/opt/d",)),
        Draft("d.service"),
        Draft("e.service"),
    ]
    found = sort_findings(output, STAGE, batch)
    assert found["a.service"].problems == ()
    assert found["a.service"].warnings == (
        "a.service:3: Unknown key 'Foo' in section [Service], ignoring.",
    )
    assert found["b.service"].problems == (
        "b.service: Service has no ExecStart=, ExecStop=, or SuccessAction=. Refusing.",
        "b.service.d/x.conf:2: Unknown section 'Bogus'. Ignoring.",
    )
    assert found["c@.service"].problems == (
        "c@i.service: Command /opt/c is not executable: No such file or directory",
    )
    assert found["d.service"].problems == ()  # another manifest of the batch brings it
    assert found["e.service"].problems == ("e.service: an empty unit file masks the unit",)


def test_findings_are_bounded_and_printable() -> None:
    lines = [f"{STAGE}/a.service:{n}: \x1b[31m{'x' * 1000}, ignoring." for n in range(100)]
    found = sort_findings("\n".join(lines), STAGE, [Draft("a.service")])["a.service"]
    assert len(found.warnings) == 21
    assert found.warnings[-1] == "… and 80 more"
    assert all(len(line) <= 400 and "\x1b" not in line for line in found.warnings)
