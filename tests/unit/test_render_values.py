"""The nine values and the block of `systemctl status`, from units of every kind."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC

import pytest

from tambourinefs.model.status import Condition
from tambourinefs.model.unit import Exec, Process, Unit, UnitCondition
from tambourinefs.model.view import ServiceView
from tambourinefs.procfs.render import values
from tambourinefs.procfs.render.figures import Figures, figures_of
from tambourinefs.procfs.render.files import FILES
from tambourinefs.procfs.render.status_text import status_text
from tambourinefs.procfs.render.times import DAY, HOUR, SECOND, Moment
from tambourinefs.procfs.render.values import memory

NOW = 1_795_386_612 * SECOND
MOMENT = Moment(NOW, DAY, UTC)

RUNNING = Unit(
    name="NetworkManager.service",
    id="NetworkManager.service",
    description="Network Manager",
    load_state="loaded",
    fragment_path="/usr/lib/systemd/system/NetworkManager.service",
    drop_in_paths=("/usr/lib/systemd/system/NetworkManager.service.d/x.conf",),
    unit_file_state="enabled",
    unit_file_preset="enabled",
    documentation=("man:NetworkManager(8)",),
    active_state="active",
    sub_state="running",
    result="success",
    active_enter_usec=NOW - DAY - 21 * HOUR,
    main_pid=514,
    exec_main_pid=514,
    main_command="NetworkManager",
    tasks_current=3,
    tasks_max=77070,
    memory_current=int(17.5 * 1024**2),
    cpu_usage_nsec=1_234_567_890,
    control_group="/system.slice/NetworkManager.service",
    processes=(
        Process(
            "/system.slice/NetworkManager.service", 514, "/usr/sbin/NetworkManager --no-daemon"
        ),
    ),
)


def view(unit: Unit | None, **fields: object) -> ServiceView:
    return replace(ServiceView("local", "nm", "NetworkManager.service", unit=unit), **fields)  # type: ignore[arg-type]


def status(unit: Unit, **fields: object) -> str:
    return status_text(view(unit, **fields), figures_of(unit), MOMENT)


def test_the_seeds_example() -> None:
    figures = figures_of(RUNNING)
    assert values.systemd_name(RUNNING) == "NetworkManager.service - Network Manager"
    assert (
        values.loaded(RUNNING)
        == "loaded (/usr/lib/systemd/system/NetworkManager.service; enabled; preset: enabled)"
    )
    assert values.drop_in(RUNNING) == "/usr/lib/systemd/system/NetworkManager.service.d\n└─x.conf"
    assert (
        values.active(RUNNING, MOMENT)
        == "active (running) since Sat 2026-11-21 01:30:12 UTC; 1 day 21h ago"
    )
    assert values.docs(RUNNING) == "man:NetworkManager(8)"
    assert values.pid(RUNNING, figures) == "514 (NetworkManager)"
    assert values.tasks(RUNNING, figures) == "3 (limit: 77070)"
    assert memory(RUNNING, figures) == "17.5M"
    assert values.cgroup(RUNNING) == "/system.slice/NetworkManager.service"


def test_the_block_of_a_running_service() -> None:
    assert status(RUNNING) == (
        "● NetworkManager.service - Network Manager\n"
        "     Loaded: loaded (/usr/lib/systemd/system/NetworkManager.service; enabled; preset: enabled)\n"
        "    Drop-In: /usr/lib/systemd/system/NetworkManager.service.d\n"
        "             └─x.conf\n"
        "     Active: active (running) since Sat 2026-11-21 01:30:12 UTC; 1 day 21h ago\n"
        "       Docs: man:NetworkManager(8)\n"
        "   Main PID: 514 (NetworkManager)\n"
        "      Tasks: 3 (limit: 77070)\n"
        "     Memory: 17.5M\n"
        "        CPU: 1.234s\n"
        "     CGroup: /system.slice/NetworkManager.service\n"
        "             └─514 /usr/sbin/NetworkManager --no-daemon\n"
    )


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({}, "loaded (/x)"),
        ({"unit_file_state": "static", "unit_file_preset": "enabled"}, "loaded (/x; static)"),
        ({"unit_file_state": "alias", "unit_file_preset": "enabled"}, "loaded (/x; alias)"),
        ({"unit_file_state": "generated", "unit_file_preset": "enabled"}, "loaded (/x; generated)"),
        ({"unit_file_state": "transient", "unit_file_preset": "enabled"}, "loaded (/x; transient)"),
        (
            {"unit_file_state": "disabled", "unit_file_preset": "enabled"},
            "loaded (/x; disabled; preset: enabled)",
        ),
        (
            {"unit_file_state": "enabled-runtime", "unit_file_preset": "disabled"},
            "loaded (/x; enabled-runtime; preset: disabled)",
        ),
        ({"fragment_path": ""}, "loaded"),
        (
            {"source_path": "/etc/fstab", "unit_file_state": "generated"},
            "loaded (/etc/fstab; generated)",
        ),
        (
            {"load_state": "masked", "load_error": ("e.UnitMasked", "Unit x.service is masked.")},
            "masked (Reason: Unit x.service is masked.)",
        ),
        (
            {
                "load_state": "not-found",
                "load_error": ("e.NoSuchUnit", "Unit x.service not found."),
            },
            "not-found (Reason: Unit x.service not found.)",
        ),
        (
            {
                "load_state": "bad-setting",
                "load_error": ("e.Bad", "Unit has a bad unit file setting."),
            },
            "bad-setting (Reason: Unit has a bad unit file setting.)",
        ),
    ],
)
def test_loaded(fields: dict[str, object], text: str) -> None:
    unit = replace(Unit("x.service", load_state="loaded", fragment_path="/x"), **fields)  # type: ignore[arg-type]
    assert values.loaded(unit) == text


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"active_state": "inactive", "sub_state": "dead"}, "inactive (dead)"),
        ({"active_state": "active", "sub_state": "exited"}, "active (exited)"),
        (
            {"active_state": "failed", "sub_state": "failed", "result": "exit-code"},
            "failed (Result: exit-code)",
        ),
        (
            {"active_state": "active", "sub_state": "running", "freezer_state": "frozen"},
            "active (running) (frozen)",
        ),
        (
            {"active_state": "activating", "sub_state": "auto-restart", "result": "signal"},
            "activating (auto-restart) (Result: signal)",
        ),
    ],
)
def test_states(fields: dict[str, object], text: str) -> None:
    unit = replace(Unit("x.service"), **fields)  # type: ignore[arg-type]
    assert values.state(unit) == text
    assert values.active(unit, MOMENT) == text  # it never changed: no date


@pytest.mark.parametrize(
    ("state", "field"),
    [
        ("active", "active_enter_usec"),
        ("reloading", "active_enter_usec"),
        ("inactive", "inactive_enter_usec"),
        ("failed", "inactive_enter_usec"),
        ("activating", "inactive_exit_usec"),
        ("deactivating", "active_exit_usec"),
        ("maintenance", "active_exit_usec"),
    ],
)
def test_which_change_a_state_dates_from(state: str, field: str) -> None:
    unit = replace(Unit("x.service", active_state=state), **{field: 77})  # type: ignore[arg-type]
    assert values.changed_usec(unit) == 77


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({}, ""),
        ({"exec_main_pid": 5, "main_pid": 5, "main_command": "a"}, "5 (a)"),
        ({"exec_main_pid": 5, "main_pid": 5}, "5"),
        (
            {"exec_main_pid": 5, "exec_main_code": 1, "exec_main_status": 1},
            "5 (code=exited, status=1/FAILURE)",
        ),
        (
            {"exec_main_pid": 5, "exec_main_code": 2, "exec_main_status": 15},
            "5 (code=killed, signal=TERM)",
        ),
        ({"control_pid": 6, "control_command": "pre"}, "6 (pre)"),
        (
            {"exec_main_pid": 5, "main_pid": 5, "main_command": "a", "control_pid": 6},
            "5 (a); Control PID: 6",
        ),
    ],
)
def test_pids(fields: dict[str, object], text: str) -> None:
    unit = replace(Unit("x.service"), **fields)  # type: ignore[arg-type]
    assert values.pid(unit, figures_of(unit)) == text


def test_a_process_may_have_changed_its_name_since_systemd_said_its_pid() -> None:
    unit = Unit("x.service", main_pid=5, exec_main_pid=5, main_command="(sleep)")
    assert values.pid(unit, Figures(main_command="sleep")) == "5 (sleep)"


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({}, "1.0K"),
        ({"memory_min": 1024}, "1.0K (min: 1.0K)"),
        ({"memory_low": None}, "1.0K (low: infinity)"),
        ({"memory_high": 2048, "memory_max": 4096}, "1.0K (high: 2.0K max: 4.0K)"),
        ({"memory_swap_max": 0}, "1.0K (swap max: 0B)"),
        ({"memory_limit": 4096, "memory_available": 3072}, "1.0K (limit: 4.0K available: 3.0K)"),
    ],
)
def test_memory(fields: dict[str, object], text: str) -> None:
    unit = replace(Unit("x.service", memory_current=1024), **fields)  # type: ignore[arg-type]
    assert memory(unit, figures_of(unit)) == text


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({}, "1K"),
        ({"memory_min": 1024, "startup_memory_low": 2048}, "1K (min: 1K, low (startup): 2K)"),
        ({"memory_peak": 1536}, "1K (peak: 1.5K)"),
        (
            {"memory_max": 4096, "memory_available": 3072, "memory_peak": 2048},
            "1K (max: 4K, available: 3K, peak: 2K)",
        ),
        ({"memory_available": 3072}, "1K"),  # of a limit above it
        ({"memory_swap_current": 0, "memory_swap_peak": 0, "memory_zswap_current": 0}, "1K"),
        (
            {"memory_swap_current": 0, "memory_swap_peak": 1024, "memory_zswap_current": 512},
            "1K (swap: 0B, swap peak: 1K, zswap: 512B)",
        ),
        (
            {"startup_memory_swap_max": 0, "memory_zswap_max": 1024},
            "1K (swap max (startup): 0B, zswap max: 1K)",
        ),
    ],
)
def test_memory_as_debian_13_says_it(fields: dict[str, object], text: str) -> None:
    unit = replace(Unit("x.service", memory_current=1024, release=257), **fields)  # type: ignore[arg-type]
    assert memory(unit, figures_of(unit)) == text


def test_a_newer_systemctl_says_more_and_says_it_otherwise() -> None:
    unit = replace(
        RUNNING, release=257, invocation_id="ab" * 16, job=(7, "restart"), fd_store_max=8, fd_store=1,
        status_errno=5, status_bus_error="org.example.No", status_varlink_error="io.example.Not",
        condition_result=False, condition_usec=1, memory_current=None, memory_peak=3 << 20,
        memory_swap_peak=1 << 20,
    )  # fmt: skip
    new, old = status(unit).splitlines(), status(replace(unit, release=252)).splitlines()
    assert [line for line in new if line not in old] == [
        "        Job: 7",
        f" Invocation: {'ab' * 16}",
        next(line for line in new if line.startswith("  Condition: start condition unmet at ")),
        "      Error: code: 5 (Input/output error); D-Bus: org.example.No; Varlink: io.example.Not",
        "   FD Store: 1 (limit: 8)",
        "   Mem peak: 3M (swap: 1M)",
    ]
    assert [line.split(":")[0].strip() for line in old if line not in new] == [
        "Condition",
        "Error",
    ]


def test_unaccounted_figures_have_no_value() -> None:
    unit = Unit("x.timer")
    assert memory(unit, Figures()) == values.tasks(unit, Figures()) == ""
    assert "Memory" not in status(unit)


def test_drop_ins_of_three_directories() -> None:
    unit = Unit("x.service", drop_in_paths=("/a/x.d/1.conf", "/a/x.d/2.conf", "/b/x.d/3.conf"))
    assert values.drop_in(unit) == "/a/x.d\n└─1.conf, 2.conf\n/b/x.d\n└─3.conf"


def test_a_failed_service_shows_its_processes_and_the_reason() -> None:
    unit = Unit(
        "x.service",
        id="x.service",
        load_state="loaded",
        active_state="failed",
        sub_state="failed",
        result="exit-code",
        inactive_enter_usec=NOW - SECOND,
        active_enter_usec=NOW - 4 * SECOND,
        active_exit_usec=NOW - SECOND,
        exec_main_pid=7,
        exec_main_code=1,
        exec_main_status=3,
        execs=(
            Exec("ExecStartPre", ("/bin/true",), 6, 2, 1, 0),
            Exec("ExecStart", ("/bin/sh", "-c", "exit 3"), 7, 3, 1, 3),
            Exec("ExecReload", ("/bin/kill",), 0, 0, 0, 0),
        ),
    )
    assert status(unit, reason="the main process exited with status 3") == (
        "× x.service\n"  # noqa: RUF001
        "     Loaded: loaded\n"
        "     Active: failed (Result: exit-code) since Sun 2026-11-22 22:30:11 UTC; 1s ago\n"
        "   Duration: 3s\n"
        "    Process: 6 ExecStartPre=/bin/true (code=exited, status=0/SUCCESS)\n"
        "    Process: 7 ExecStart=/bin/sh -c exit 3 (code=exited, status=3)\n"
        "   Main PID: 7 (code=exited, status=3)\n"
        "     Reason: the main process exited with status 3\n"
    )


def test_unmet_conditions_and_asserts() -> None:
    unit = Unit(
        "x.service",
        load_state="loaded",
        condition_result=False,
        condition_usec=NOW - SECOND,
        conditions=(
            UnitCondition("ConditionPathExists", False, False, "/a", -1),
            UnitCondition("ConditionHost", False, False, "h", 1),
            UnitCondition("ConditionPathExists", True, True, "/b", -1),
        ),
        assert_result=False,
        assert_usec=NOW - SECOND,
        asserts=(
            UnitCondition("AssertPathExists", True, False, "/t", -1),
            UnitCondition("AssertPathExists", False, True, "/c", -1),
        ),
    )
    lines = status(unit).splitlines()
    assert lines[3:] == [
        "  Condition: start condition failed at Sun 2026-11-22 22:30:11 UTC; 1s ago",
        "             ├─ ConditionPathExists=|!/b was not met",
        "             └─ ConditionPathExists=/a was not met",
        "     Assert: start assertion failed at Sun 2026-11-22 22:30:11 UTC; 1s ago",
        "             AssertPathExists=!/c was not met",
    ]


def test_sockets_timers_mounts() -> None:
    socket = Unit(
        "x.socket",
        load_state="loaded",
        triggers=("x.service",),
        listen=(("Stream", "/run/x"), ("Stream", "[::]:80")),
        accepted=4,
        connections=1,
    )
    assert status(socket).splitlines()[3:] == [
        "   Triggers: ● x.service",
        "     Listen: /run/x (Stream)",
        "             [::]:80 (Stream)",
        "   Accepted: 4; Connected: 1;",
    ]
    timer = Unit(
        "x.timer",
        load_state="loaded",
        triggers=("x.service",),
        next_elapse_monotonic_usec=DAY + HOUR,
    )
    assert "    Trigger: Sun 2026-11-22 23:30:12 UTC; 1h 0min left\n" in status(timer)
    assert "    Trigger: n/a\n" in status(Unit("x.timer", load_state="loaded"))
    service = Unit(
        "x.service",
        load_state="loaded",
        triggered_by=(("x.socket", "active"), ("x.path", "inactive")),
    )
    assert "TriggeredBy: ● x.socket\n             ○ x.path\n" in status(service)
    assert "      Where: /m\n       What: tmpfs\n" in status(
        Unit("m.mount", load_state="loaded", where="/m", what="tmpfs")
    )


def test_missing_unit() -> None:
    error = ("org.freedesktop.systemd1.NoSuchUnit", "Unit gone.service not found.")
    assert (
        status(Unit("gone.service", load_error=error)) == "Unit gone.service could not be found.\n"
    )
    # Removed while failed: systemd still knows it.
    kept = Unit("gone.service", id="gone.service", load_error=error, active_state="failed")
    assert status(kept).startswith("× gone.service\n     Loaded: not-found (Reason: ")  # noqa: RUF001
    # systemd could not tell: the unit is not reported as missing.
    assert "Loaded: not-found (Reason: Invalid argument)" in status(
        Unit("x.service", load_error=("", "Invalid argument"))
    )


def test_a_refused_manifest_has_a_status_too() -> None:
    refused = view(
        None,
        conditions=(Condition("Accepted", "False", "DeniedByPolicy", "ssh is denied", 1, ""),),
        reason="refused by policy",
    )
    assert status_text(refused, Figures(), MOMENT) == (
        "○ NetworkManager.service\n"
        "   Accepted: False (DeniedByPolicy): ssh is denied\n"
        "     Reason: refused by policy\n"
    )


def test_the_process_tree() -> None:
    group = "/system.slice/x.service"
    unit = replace(
        RUNNING,
        control_group=group,
        processes=(
            Process(f"{group}/b", 1000, "four"),
            Process(group, 12, "one"),
            Process(f"{group}/a/deep", 7, "three"),
            Process(group, 3, "zero"),
            Process(f"{group}/a", 9, "two"),
            Process("/user.slice/session", 77, "stranger"),
            Process(f"{group}x", 78, "neighbour"),
        ),
    )
    lines = status(unit).splitlines()
    assert lines[lines.index(f"     CGroup: {group}") + 1 :] == [
        "             ├─ 3 zero",
        "             ├─12 one",
        "             ├─a",
        "             │ ├─9 two",
        "             │ └─deep",
        "             │   └─7 three",
        "             └─b",
        "               └─1000 four",
        "             ‣ 77 stranger",
        "             ‣ 78 neighbour",
    ]


HOSTILE = "evil\nActive: fine\r\x1b[2J\x9b31m\u202e\u2028\x00end"


@pytest.mark.parametrize("name", [spec.name for spec in FILES if spec.name != "manifest"])
def test_values_are_escaped_to_one_line(name: str) -> None:
    def fill(text: str) -> ServiceView:
        unit = replace(
            RUNNING,
            id=text,
            description=text,
            load_error=("", text),
            drop_in_paths=(f"/{text}/a",),
            documentation=(text,),
            sub_state=text,
            result=text,
            active_enter_usec=0,
            main_command=text,
            status_text=text,
            control_group=f"/{text}",
            processes=(Process(f"/{text}", 1, text), Process(f"/{text}/{text}", 2, text)),
            execs=(Exec("ExecStart", (text,), 3, 0, 1, 1),),
            conditions=(UnitCondition(text, False, False, text, -1),),
            condition_result=False,
            condition_usec=1,
            listen=((text, text),),
            triggers=(text,),
            triggered_by=((text, text),),
            where=text,
            what=text,
            following=text,
            sysfs_path=text,
        )
        return view(
            unit,
            reason=text,
            journal=(text,),
            conditions=(Condition("Ready", "False", "Failed", text, 1, ""),),
        )

    spec = next(spec for spec in FILES if spec.name == name)
    hostile, harmless = (
        spec.render(v, figures_of(v.unit) if v.unit else Figures(), MOMENT)
        for v in (fill(HOSTILE), fill("good"))
    )
    assert hostile.count(b"\n") == harmless.count(b"\n")
    assert not set(hostile.decode()) & set("\r\x1b\x9b\u202e\u2028\x00")
