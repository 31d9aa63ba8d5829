"""The root command: exit codes, help for everything, and nothing imported that is not needed."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tambourinefs.cli.common.goal import Goal, GoalResult, GoalState, GoalStatus, NodeResult
from tambourinefs.cli.common.outcome import failure
from tambourinefs.cli.host.table import header, ready, row
from tambourinefs.cli.host.watching import next_step
from tambourinefs.cli.main import COMMANDS, run
from tambourinefs.model.status import Condition, StatusReport

CLIENT = (
    "apply", "diff", "delete", "get", "status", "start", "stop", "restart", "reload", "logs",
    "config", "completion",
)  # fmt: skip


@pytest.mark.parametrize("command", CLIENT)
def test_every_help_teaches(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([command, "--help"]) == 0
    text = capsys.readouterr().out
    assert f"\n    tambourine {command}" in text or f"| tambourine {command}" in text
    assert "Exit codes:" in text or command == "completion"


def test_the_root_help_lists_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(f"\n  {command} " in text for command in COMMANDS)


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["get", "--nonsense"],
        ["apply"],
        ["delete"],
        ["get", "-w", "-o", "json"],
        ["get", "../etc"],
        ["get", "-n", "20"],
        ["restart", "hello", "--timeout", "soon"],
        ["restart", "-n", "storage", "alice"],
        ["delete", "-n", "storage", "alice"],
        ["completion", "csh"],
        ["config", "--config", "/dev/null/x", "check", "/nonexistent"],
    ],
)
def test_wrong_usage_ends_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err


def test_who_cannot_be_reached_ends_with_4(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--socket", str(tmp_path / "none.sock"), "--pki", str(tmp_path)]
    assert run(["get", *options]) == 4
    assert "hint:" in capsys.readouterr().err


def test_what_is_managed_in_kubernetes_says_where(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["restart", "-n", "storage", "alice"]) == 2
    text = capsys.readouterr().err
    assert 'tambourine/alice in namespace "storage" is read-only here' in text
    assert "kubectl tambourine restart alice -n storage" in text


def test_a_wrong_configuration_names_file_and_key(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.toml").write_text("[agent]\nnamespace = ['a']\n")
    assert run(["config", "--config", str(tmp_path / "config.toml")]) == 2
    text = capsys.readouterr().err
    assert "config.toml: agent.namespace: unknown key" in text
    assert run(["config", "check", str(tmp_path / "config.toml")]) == 2


def test_the_configuration_says_where_each_value_is_from(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import tomllib

    (tmp_path / "config.toml").write_text("[agent]\nnamespaces = ['local', 'a']\n")
    (tmp_path / "config.d").mkdir()
    (tmp_path / "config.d" / "9.toml").write_text("[silo]\nquota_files = 77\n")
    assert run(["config", "--config", str(tmp_path / "config.toml")]) == 0
    text = capsys.readouterr().out
    assert f'agent.namespaces = ["local", "a"]  # {tmp_path}/config.toml\n' in text
    assert f"silo.quota_files = 77  # {tmp_path}/config.d/9.toml\n" in text
    assert "agent.journal_lines = true  # default\n" in text
    assert tomllib.loads(text)["silo"]["quota_files"] == 77


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_name_the_program(
    shell: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if shell == "bash" and not Path("/bin/bash").exists():
        pytest.fail("bash is missing: apt-get install bash")
    assert run(["completion", shell]) == 0
    assert "_TAMBOURINE_COMPLETE" in capsys.readouterr().out


def imported_by(*arguments: str) -> set[str]:
    """The modules that a command line loads, in a process of its own."""
    code = (
        "import sys; from tambourinefs.cli.main import run; run(sys.argv[1:]); "
        "print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True
    )
    return set(done.stderr.split())


def test_a_help_loads_neither_grpc_nor_rich_nor_a_file_system() -> None:
    loaded = imported_by("get", "--help")
    assert "tambourinefs.cli.host.get" in loaded
    assert not {"grpc", "rich", "yaml", "trio", "pyfuse3", "tambourinefs.cli.host.apply"} & loaded


NOW = datetime(2026, 1, 10, 12, 0, 0, tzinfo=UTC)


def report(ready: str = "True", reason: str = "Ready", kind: str = "Ready") -> StatusReport:
    return StatusReport(
        "local",
        "hello",
        unit="hello.service",
        active_state="active",
        sub_state="running",
        since="2026-01-10T11:00:00Z",
        main_pid=514,
        tasks="3 (limit: 77070)",
        memory="17.5M",
        cgroup="/system.slice/hello.service",
        conditions=(Condition(kind, ready, reason, "", 1, ""),),
    )


def test_a_row_has_the_seeds_values() -> None:
    cells = row(report(), NOW, wide=True, namespaces=True)
    assert cells == [
        "local", "hello", "hello.service", "True", "active (running)", "60m",
        "514", "3", "17.5M", "/system.slice/hello.service",
    ]  # fmt: skip
    assert len(cells) == len(header(wide=True, namespaces=True))
    assert row(report(), NOW, wide=False, namespaces=False) == cells[1:6]


def test_ready_tells_why_not() -> None:
    assert ready(report("False", "Failed")) == "False/Failed"
    assert ready(report("Unknown", "Starting")) == "Unknown/Starting"
    assert ready(report("False", "VerifyFailed", "Accepted")) == "False/VerifyFailed"
    assert ready(StatusReport("local", "hello")) == "Unknown"


GOAL = Goal("local", "hello", "u", 1)


@pytest.mark.parametrize(
    ("state", "about", "what", "command"),
    [
        (GoalState.REFUSED, "Accepted", "is refused", "tambourine config"),
        (GoalState.INVALID, "Accepted", "is refused", "tambourine get hello -o yaml"),
        (GoalState.FAILED, "Ready", "is not ready", "tambourine status hello"),
        (GoalState.PROGRESSING, "Applied", "is not ready after 30 s", "tambourine get hello -w"),
    ],
)
def test_a_failure_says_why_and_what_to_type(
    state: GoalState, about: str, what: str, command: str
) -> None:
    status = GoalStatus(state, about, "Why", "first\nsecond")
    result = GoalResult(GOAL, status, {"": NodeResult(status, report())})
    assert failure(result, 30) == [
        f"error: tambourine/hello {what}: {about}: Why: first",
        "  second",
    ]
    assert command in next_step(result)
