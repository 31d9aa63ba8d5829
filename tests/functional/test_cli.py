"""Every command of the client against a real Bombshell and a real status mount; the agent's part is a script."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tambourinefs.model.manifest import Manifest

from .cli_chain import Chain, View, as_asked, chain, condition, server, until, view

HELLO = """\
apiVersion: tambourine.dev/v1alpha1
kind: Tambourine
metadata: {name: hello}
spec:
  name: hello
  command: start
  unit: |
    [Service]
    ExecStart=/usr/bin/sleep infinity
"""


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Chain]:
    with chain(tmp_path) as made:
        yield made


@pytest.fixture
def hello(tmp_path: Path) -> str:
    (tmp_path / "hello.yaml").write_text(HELLO)
    return str(tmp_path / "hello.yaml")


def test_apply_waits_until_it_is_as_asked(host: Chain, hello: str) -> None:
    done = host.run("apply", "-f", hello)
    assert (done.returncode, done.stdout) == (
        0,
        "tambourine/hello created\ntambourine/hello ready: active (running)\n",
    ), done.stderr
    first = host.manifest()
    assert first.metadata.generation == 1
    assert host.run("apply", "-f", hello).stdout.startswith("tambourine/hello unchanged\n")
    assert host.manifest() == first
    edited = HELLO.replace("infinity", "60")
    assert host.run("apply", "-f", "-", stdin=edited).stdout.startswith(
        "tambourine/hello configured\n"
    )
    second = host.manifest()
    assert (second.metadata.generation, second.metadata.uid) == (2, first.metadata.uid)


def test_a_dry_run_and_a_diff_write_nothing(host: Chain, hello: str) -> None:
    assert (
        host.run("apply", "-f", hello, "--dry-run").stdout == "tambourine/hello created (dry run)\n"
    )
    new = host.run("diff", "-f", hello)
    assert (new.returncode, new.stdout.splitlines()[0]) == (1, "--- /dev/null")
    assert list(host.silo.iterdir()) == []
    host.run("apply", "-f", hello)
    same = host.run("diff", "-f", hello)
    assert (same.returncode, same.stdout) == (0, "")
    edited = host.run("diff", "-f", "-", stdin=HELLO.replace("infinity", "60"))
    assert edited.returncode == 1
    assert "+    ExecStart=/usr/bin/sleep 60\n" in edited.stdout
    assert host.manifest().metadata.generation == 1


def test_nothing_is_written_when_one_of_several_is_wrong(host: Chain, tmp_path: Path) -> None:
    (tmp_path / "all.yaml").write_text(
        HELLO + "---\n" + HELLO.replace("hello", "x").replace("unit:", "unti:")
    )
    done = host.run("apply", "-f", str(tmp_path / "all.yaml"))
    assert done.returncode == 2
    assert "unti" in done.stderr
    assert "all.yaml" in done.stderr
    assert list(host.silo.iterdir()) == []


def failing(reason: str, kind: str, message: str) -> object:
    def behave(manifest: Manifest) -> View:
        generation = manifest.metadata.generation
        conditions = [condition("Accepted", "True", "Accepted", generation)]
        if kind != "Accepted":
            conditions.append(condition("Applied", "True", "Applied", generation))
        else:
            conditions.clear()
        conditions.append(condition(kind, "False", reason, generation, message))
        return view(manifest, *conditions, active="failed", journal=["cannot open x", "giving up"])

    return behave


@pytest.mark.parametrize(
    ("kind", "reason", "code"),
    [
        ("Accepted", "VerifyFailed", 2),
        ("Accepted", "DeniedByPolicy", 3),
        ("Ready", "Failed", 1),
    ],
)
def test_a_failure_says_why_and_what_next(
    host: Chain, hello: str, kind: str, reason: str, code: int
) -> None:
    host.behave = failing(reason, kind, "line 2: not so")  # type: ignore[assignment]
    done = host.run("apply", "-f", hello)
    assert done.returncode == code, done.stderr
    assert done.stdout == "tambourine/hello created\n"
    assert f"{kind}: {reason}: line 2: not so" in done.stderr
    assert "next: " in done.stderr
    assert ("    giving up\n" in done.stderr) == (code == 1)


def test_no_wait_returns_once_it_is_in_the_silo(host: Chain, hello: str) -> None:
    host.behave = lambda _: None
    done = host.run("apply", "-f", hello, "--no-wait")
    assert (done.returncode, done.stdout) == (0, "tambourine/hello created\n")
    assert host.manifest().metadata.generation == 1


def test_a_timeout_says_what_it_waited_for(host: Chain, hello: str) -> None:
    def starting(manifest: Manifest) -> View:
        generation = manifest.metadata.generation
        known = [condition(kind, "True", kind, generation) for kind in ("Accepted", "Applied")]
        return view(
            manifest,
            *known,
            condition("Ready", "Unknown", "Starting", generation),
            active="activating",
        )

    host.behave = starting
    done = host.run("apply", "-f", hello, "--timeout", "500ms")
    assert done.returncode == 1
    assert "is not ready after 0.5 s: Ready: Starting" in done.stderr


def test_an_agent_that_does_not_look_ends_with_4(host: Chain, hello: str) -> None:
    host.behave = lambda _: None
    done = host.run("apply", "-f", hello, "--timeout", "300ms")
    assert done.returncode == 4
    assert "systemctl status tambourine.service" in done.stderr


def test_get_and_status(host: Chain, hello: str) -> None:
    empty = host.run("get")
    assert (empty.returncode, empty.stdout) == (0, "")
    host.run("apply", "-f", hello)
    lines = host.run("get").stdout.splitlines()
    assert lines[0].split() == ["NAME", "UNIT", "READY", "ACTIVE", "SINCE"]
    assert lines[1].split()[:5] == ["hello", "hello.service", "True", "active", "(running)"]
    wide = host.run("get", "-A", "-o", "wide").stdout.splitlines()[0].split()
    assert wide == [
        "NAMESPACE",
        "NAME",
        "UNIT",
        "READY",
        "ACTIVE",
        "SINCE",
        "PID",
        "TASKS",
        "MEMORY",
        "CGROUP",
    ]
    assert host.run("get", "-o", "name").stdout == "tambourine/hello\n"
    assert host.run("get", "hello", "missing").returncode == 1
    shown = host.run("status", "hello")
    assert shown.returncode == 0
    assert shown.stdout.startswith((host.proc / "local/hello/status").read_text().splitlines()[0])
    assert "Conditions (generation 1 of 1):\n  Accepted   True   Accepted\n" in shown.stdout
    assert shown.stdout.endswith("first line\ngeneration 1\n")
    assert host.run("status", "tambourine/hello", "-l", "1").stdout.endswith("\n\ngeneration 1\n")
    assert host.run("status", "missing").returncode == 1
    host.behave = failing("Failed", "Ready", "exit code 3")  # type: ignore[assignment]
    host.run("restart", "hello")
    assert host.run("status", "hello").returncode == 1


def test_objects_can_be_applied_again(host: Chain, hello: str) -> None:
    host.run("apply", "-f", hello)
    one = json.loads(host.run("get", "hello", "-o", "json").stdout)
    assert one["kind"] == "Tambourine"
    assert one["spec"]["command"] == "start"
    assert one["status"]["activeState"] == "active"
    assert json.loads(host.run("get", "-o", "json").stdout)["items"] == [one]
    text = host.run("get", "-o", "yaml").stdout
    assert yaml.safe_load(text)["metadata"] == one["metadata"]
    again = host.run("apply", "-f", "-", stdin=text)
    assert again.stdout.startswith("tambourine/hello unchanged\n"), again.stderr


@pytest.mark.parametrize("verb", ["start", "stop", "restart", "reload"])
def test_a_command_is_an_edit_that_is_waited_for(host: Chain, hello: str, verb: str) -> None:
    host.run("apply", "-f", hello)
    done = host.run(verb, "hello")
    state = "inactive (dead)" if verb == "stop" else "active (running)"
    assert (done.returncode, done.stdout) == (0, f"tambourine/hello ready: {state}\n"), done.stderr
    made = host.manifest()
    assert (made.metadata.generation, made.spec.command) == (2, verb)
    assert bool(made.spec.command_id) == (verb in ("restart", "reload"))
    first = made.spec.command_id
    host.run(verb, "hello", "--no-wait")
    assert host.manifest().metadata.generation == 3
    assert not first or host.manifest().spec.command_id != first


def test_what_is_not_there_or_elsewhere_is_not_commanded(host: Chain, hello: str) -> None:
    missing = host.run("restart", "missing")
    assert (missing.returncode, "tambourine/missing not found" in missing.stderr) == (1, True)
    elsewhere = host.silo / "storage" / "alice" / "tambourine.json"
    elsewhere.parent.mkdir(parents=True)
    text = HELLO.replace(
        "{name: hello}", "{name: alice, namespace: storage, uid: u-1, generation: 4}"
    )
    draft = elsewhere.with_name("draft")
    draft.write_text(json.dumps(yaml.safe_load(text)))
    draft.rename(elsewhere)  # whoever reads it reads it whole
    until("alice is listed", lambda: "alice" in host.run("get", "-A", "-o", "name").stdout)
    before = elsewhere.read_bytes()
    for arguments in (
        ["restart", "alice"],
        ["stop", "-n", "storage", "alice"],
        ["delete", "alice"],
    ):
        refused = host.run(*arguments)
        assert refused.returncode == 2, refused.stderr
        assert 'in namespace "storage" is read-only here' in refused.stderr
        assert "-n storage" in refused.stderr
    assert elsewhere.read_bytes() == before
    assert host.run("get").stdout == ""
    assert host.run("get", "-n", "storage", "-o", "name").stdout == "tambourine/alice\n"
    assert host.run("status", "-n", "storage", "alice").returncode == 0


def test_delete_takes_the_directory_and_waits(host: Chain, hello: str) -> None:
    host.run("apply", "-f", hello)
    (host.silo / "local/hello/left.bin").write_bytes(b"payload")
    done = host.run("delete", "hello")
    assert (done.returncode, done.stdout) == (0, "tambourine/hello deleted\n"), done.stderr
    assert not (host.silo / "local/hello").exists()
    assert not (host.proc / "local/hello").exists()
    assert host.run("delete", "hello").returncode == 1
    assert host.run("delete", "hello", "--ignore-not-found").returncode == 0
    host.run("apply", "-f", hello)
    assert host.manifest().metadata.generation == 1
    assert host.run("delete", "-f", hello).returncode == 0


def test_payload_goes_first_and_must_match(host: Chain, tmp_path: Path) -> None:
    data = b"\0payload" * 100_000
    manifest = tmp_path / "with.yaml"
    text = HELLO + (
        "  files:\n  - path: /opt/tool\n    mode: '0755'\n"
        f"    contentFrom: {{silo: tool.bin, sha256: {hashlib.sha256(data).hexdigest()}}}\n"
    )
    manifest.write_text(text)
    lost = host.run("apply", "-f", str(manifest))
    assert (lost.returncode, 'payload "tool.bin"' in lost.stderr) == (2, True)
    (tmp_path / "tool.bin").write_bytes(data[:-1])
    wrong = host.run("apply", "-f", str(manifest))
    assert (wrong.returncode, "spec.files[0].contentFrom" in wrong.stderr) == (2, True)
    assert list(host.silo.iterdir()) == []
    (tmp_path / "tool.bin").write_bytes(data)
    assert host.run("apply", "-f", str(manifest)).returncode == 0
    assert (host.silo / "local/hello/tool.bin").read_bytes() == data
    (tmp_path / "tool.bin").unlink()  # it is in the silo, which is enough
    assert host.run("apply", "-f", str(manifest)).stdout.startswith("tambourine/hello unchanged\n")


def test_two_command_lines_never_lose_an_edit(host: Chain, hello: str) -> None:
    host.run("apply", "-f", hello)
    running = [host.start("restart", "hello", "--no-wait") for _ in range(6)]
    running += [host.start("apply", "-f", hello, "--no-wait") for _ in range(2)]
    for process in running:
        _, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
    # Each restart raised it by one; an apply did where it found a restart's command, and else nothing.
    assert 7 <= host.manifest().metadata.generation <= 9


def test_logs_and_their_new_lines(host: Chain, hello: str) -> None:
    host.run("apply", "-f", hello)
    assert host.run("logs", "hello").stdout == "first line\ngeneration 1\n"
    assert host.run("logs", "hello", "-l", "1").stdout == "generation 1\n"
    assert host.run("logs", "missing").returncode == 1
    following = host.start("logs", "-f", "hello")
    assert following.stdout is not None
    assert [following.stdout.readline() for _ in range(2)] == ["first line\n", "generation 1\n"]
    made = as_asked(host.manifest())
    host.order(publish={**made, "journal": ["first line", "generation 1", "later"]})
    assert following.stdout.readline() == "later\n"
    following.send_signal(signal.SIGINT)
    _, err = following.communicate(timeout=20)
    assert (following.returncode, err.strip()) == (130, "")


def test_watching_prints_what_changes(host: Chain, hello: str) -> None:
    host.run("apply", "-f", hello)
    watching = host.start("get", "-w")
    assert watching.stdout is not None
    assert watching.stdout.readline().split()[0] == "NAME"
    assert watching.stdout.readline().split()[:3] == ["hello", "hello.service", "True"]
    host.behave = failing("Failed", "Ready", "exit code 3")  # type: ignore[assignment]
    host.run("restart", "hello")
    assert watching.stdout.readline().split()[2:4] == ["False/Failed", "failed"]
    host.run("delete", "hello")
    assert watching.stdout.readline().split()[:3] == ["hello", "hello.service", "Deleted"]
    watching.send_signal(signal.SIGINT)
    _, err = watching.communicate(timeout=20)
    assert (watching.returncode, err.strip()) == (130, "")


def test_bombshell_away_is_4_and_its_return_is_noticed(host: Chain, hello: str) -> None:
    host.run("apply", "-f", hello)
    host.server.terminate()
    host.server.wait(20)
    for arguments in (["get"], ["status", "hello"], ["restart", "hello"], ["apply", "-f", hello]):
        done = host.run(*arguments)
        assert done.returncode == 4, done.stderr
        assert "hint: " in done.stderr
    host.server = server(host.base)
    assert host.run("get", "-o", "name").stdout == "tambourine/hello\n"


def test_the_agent_away_is_4_and_says_so(host: Chain, hello: str) -> None:
    host.run("apply", "-f", hello)
    host.stopping.set()
    host.status.terminate()
    host.status.wait(20)
    for path in host.proc.iterdir():
        pytest.fail(f"the mount is still there: {path}")
    done = host.run("get")
    assert done.returncode == 4, done.stderr
    assert "tambourine.service" in done.stderr


def test_a_reader_that_goes_away_is_no_error(host: Chain, hello: str) -> None:
    host.run("apply", "-f", hello)
    with host.start("get", "-w") as reading:
        assert reading.stdout is not None
        assert reading.stderr is not None
        reading.stdout.readline()
        reading.stdout.close()
        host.run("stop", "hello")
        assert reading.wait(20) == 141
        assert reading.stderr.read() == ""


def test_a_terminal_sees_it_live_and_the_results_stay(host: Chain, hello: str) -> None:
    master, slave = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "tambourinefs.cli.main", "apply", "-f", hello],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env={**host.environment, "TERM": "xterm"},
    )
    os.close(slave)
    seen = b""
    with contextlib.suppress(OSError):  # EIO: the other end was closed
        while part := os.read(master, 4096):
            seen += part
    os.close(master)
    assert process.wait(20) == 0
    assert b"\x1b[?25l" in seen  # something was drawn over
    assert b"\x1b[?25h" in seen  # and the cursor given back
    assert seen.endswith(b"tambourine/hello ready: active (running)\r\n")


def complete(host: Chain, words: str, environment: dict[str, str] | None = None) -> list[str]:
    printed = subprocess.run(
        [shutil.which("tambourine") or "tambourine"],
        env={
            **host.environment,
            **(environment or {}),
            "_TAMBOURINE_COMPLETE": "bash_complete",
            "COMP_WORDS": words,
            "COMP_CWORD": str(len(words.split(" ")) - 1),
        },
        capture_output=True,
        text=True,
        check=True,
        timeout=20,
    ).stdout
    return [line for line in printed.splitlines() if line]


def test_names_are_completed_from_the_host(host: Chain, hello: str) -> None:
    host.run("apply", "-f", hello)
    assert complete(host, "tambourine restart h") == ["plain,hello"]
    assert complete(host, "tambourine restart hello ") == []
    assert complete(host, "tambourine status -n storage ") == []
    assert "plain,restart" in complete(host, "tambourine re")
    away = {"TAMBOURINE_SOCKET": str(host.base / "none.sock")}
    assert complete(host, "tambourine restart h", away) == []
