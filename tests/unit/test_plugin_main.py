"""The plugin's root: help that teaches, options before and after the command, exit codes, completion, light imports."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click
import pytest

from tambourinefs.cli.plugin import complete
from tambourinefs.cli.plugin.main import COMMANDS, root, run
from tambourinefs.cli.plugin.target import ClusterTarget, target_of

NO_CLUSTER = """\
apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "https://127.0.0.1:1"}}]
users: [{name: u, user: {token: t}}]
contexts:
- {name: one, context: {cluster: c, user: u, namespace: storage}}
- {name: two, context: {cluster: c, user: u}}
current-context: one
"""


@pytest.fixture
def kubeconfig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "config"
    path.write_text(NO_CLUSTER)
    monkeypatch.setenv("KUBECONFIG", str(path))
    return path


@pytest.mark.parametrize("command", COMMANDS)
def test_every_help_teaches(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([command, "--help"]) == 0
    text = capsys.readouterr().out
    assert f"\n    kubectl tambourine {command}" in text
    assert "Exit codes:" in text
    assert "--kubeconfig" in text


def test_the_root_help_lists_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(f"\n  {command} " in text for command in COMMANDS)


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["status"],
        ["status", "../etc"],
        ["status", "pod/web"],
        ["status", "UPPER"],
        ["status", "web", "-n", "a/b"],
        ["restart", "web", "--timeout", "soon"],
        ["logs", "web", "--lines", "0"],
        ["status", "web", "--kubeconfig", "/nonexistent"],
        ["status", "web", "--context", "three"],
        ["uninstall", "now"],
    ],
)
@pytest.mark.usefixtures("kubeconfig")
def test_wrong_usage_ends_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err


@pytest.mark.parametrize(
    "command", [["status", "web"], ["restart", "web"], ["nodes"], ["undo", "web"]]
)
@pytest.mark.usefixtures("kubeconfig")
def test_who_cannot_be_reached_ends_with_4(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(command) == 4
    assert "the API server at https://127.0.0.1:1 does not answer" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "namespace"),
    [
        (["status", "web"], "storage"),
        (["status", "web", "-n", "here"], "here"),
        (["-n", "here", "status", "web"], "here"),
        (["-n", "there", "status", "web", "-n", "here"], "here"),
        (["--context", "two", "status", "web"], "default"),
        (["status", "web", "--context", "two", "-n", "here"], "here"),
    ],
)
@pytest.mark.usefixtures("kubeconfig")
def test_options_stand_before_or_after_the_command(arguments: list[str], namespace: str) -> None:
    """Read from the context that click makes of the words; nothing is carried out."""
    with root.make_context("x", list(arguments)) as ctx:
        name, command, rest = root.resolve_command(ctx, [*ctx._protected_args, *ctx.args])
        assert command is not None
        with command.make_context(name, rest, parent=ctx) as inner:
            assert target_of(inner).namespace == namespace


def test_what_is_said_after_the_command_wins() -> None:
    outer, inner = ClusterTarget("a", "b", "c"), ClusterTarget("", "x", "")
    assert inner.over(outer) == ClusterTarget("a", "x", "c")


def test_completion_of_words_needs_no_cluster() -> None:
    *choices, directive = complete.answer(["re"])
    assert [line.partition("\t")[0] for line in choices] == ["restart", "reload"]
    assert directive == ":4"
    assert list(complete.answer(["status", "--kubeconfig", ""])) == [":0"]  # files are the shell's


@pytest.mark.usefixtures("kubeconfig")
def test_completion_without_a_cluster_offers_nothing_and_says_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert list(complete.answer(["status", ""])) == [":4"]
    assert list(complete.answer(["status", "--context", "t"])) == ["two", ":4"]
    assert capsys.readouterr() == ("", "")


def test_help_imports_neither_the_kubernetes_client_nor_grpc() -> None:
    code = (
        "import sys; from tambourinefs.cli.plugin.main import run; run(sys.argv[1:]); "
        "bad = {'kubernetes', 'urllib3', 'grpc', 'trio', 'pyfuse3'} & set(sys.modules); "
        "sys.exit(f'imported: {bad}' if bad else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "status", "--help"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_every_command_is_a_click_command_with_the_cluster_options() -> None:
    context = click.Context(root)
    for name in COMMANDS:
        command = root.get_command(context, name)
        assert command is not None
        assert {"kubeconfig", "context", "namespace"} <= {p.name for p in command.params}
