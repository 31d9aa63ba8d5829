"""The whole story at the command line of a real host: from a manifest to a running service, and back to none."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Iterator

import pytest

from tests import waiting
from tests.lab.hosts import Host

HELLO = """\
apiVersion: tambourine.dev/v1alpha1
kind: Tambourine
metadata: {name: cli-hello}
spec:
  name: cli-hello
  command: start
  unit: |
    [Unit]
    Description=Says hello
    [Service]
    ExecStart=/bin/sh -c 'echo hello from $$; exec sleep infinity'
    ExecReload=/bin/sh -c 'echo reloaded'
    [Install]
    WantedBy=multi-user.target
"""
NAME = "cli-hello"
UNIT = "cli-hello.service"


@pytest.fixture
def clean(host: Host) -> Iterator[Host]:
    """The shared host, without what a test here may have left."""
    yield host
    host.run("systemctl", "start", "tambourine-bombshell.service", "tambourine.service")
    left = host.root / "var/lib/tambourine/silo/local"
    if left.is_dir() and (names := [path.name for path in left.iterdir()]):
        host.run("tambourine", "delete", *names, "--timeout", "60s")


def until(what: str, condition: Callable[[], bool]) -> None:
    waiting.until(condition, what)


def tambourine(
    host: Host, *arguments: str, stdin: str | None = None
) -> subprocess.CompletedProcess[str]:
    return host.run("tambourine", *arguments, input=stdin, check=False, timeout=120)


def systemd(host: Host, key: str, unit: str = UNIT) -> str:
    return host.run("systemctl", "show", "-P", key, unit).stdout.strip()


def applied(host: Host, text: str = HELLO) -> str:
    done = tambourine(host, "apply", "-f", "-", stdin=text)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_apply_get_status_restart_delete(clean: Host) -> None:
    host = clean
    assert (
        applied(host) == f"tambourine/{NAME} created\ntambourine/{NAME} ready: active (running)\n"
    )
    assert systemd(host, "ActiveState") == "active"
    assert systemd(host, "UnitFileState") == "enabled"
    assert applied(host).startswith(f"tambourine/{NAME} unchanged\n")

    listed = tambourine(host, "get").stdout.splitlines()
    row = next(line for line in listed if line.startswith(NAME))
    assert row.split()[:5] == [NAME, UNIT, "True", "active", "(running)"]

    shown = tambourine(host, "status", NAME)
    assert shown.returncode == 0
    assert f"● {UNIT} - Says hello" in shown.stdout
    assert f"Main PID: {systemd(host, 'MainPID')} " in shown.stdout
    assert "hello from" in shown.stdout

    before = systemd(host, "MainPID")
    done = tambourine(host, "restart", NAME)
    assert (done.returncode, done.stdout) == (0, f"tambourine/{NAME} ready: active (running)\n")
    after = systemd(host, "MainPID")
    assert after != before

    done = tambourine(host, "reload", NAME)
    assert done.returncode == 0, done.stderr
    assert systemd(host, "MainPID") == after
    until("the reload is logged", lambda: "reloaded" in tambourine(host, "logs", NAME).stdout)

    done = tambourine(host, "stop", NAME)
    assert (done.returncode, done.stdout) == (0, f"tambourine/{NAME} ready: inactive (dead)\n")
    assert systemd(host, "UnitFileState") == "disabled"
    assert tambourine(host, "start", NAME).returncode == 0
    assert systemd(host, "ActiveState") == "active"

    done = tambourine(host, "delete", NAME)
    assert (done.returncode, done.stdout) == (0, f"tambourine/{NAME} deleted\n")
    assert systemd(host, "LoadState") == "not-found"
    assert host.run("test", "-e", f"/etc/systemd/system/{UNIT}", check=False).returncode == 1


def test_logs_follow_what_a_running_service_says(clean: Host) -> None:
    counting = HELLO.replace("exec sleep infinity", "while :; do date +count-%%s; sleep 1; done")
    applied(clean, counting)
    until("it is logged", lambda: "count-" in tambourine(clean, "logs", NAME, "-l", "1").stdout)
    last = tambourine(clean, "logs", NAME, "-l", "1").stdout
    following = clean.popen("tambourine", "logs", "-f", "-l", "1", NAME)
    assert following.stdout is not None
    seen = [following.stdout.readline() for _ in range(3)]
    following.kill()
    following.communicate(timeout=20)
    numbers = [int(line.rsplit("count-")[1]) for line in [last, *seen[1:]]]
    assert numbers == sorted(numbers)
    assert numbers[-1] > numbers[0]


def test_a_broken_unit_is_refused_and_the_running_one_untouched(clean: Host) -> None:
    host = clean
    applied(host)
    before = (systemd(host, "MainPID"), systemd(host, "ActiveEnterTimestampMonotonic"))
    broken = HELLO.replace("ExecStart=/bin/sh", "ExecStrat=/bin/sh")
    done = tambourine(host, "apply", "-f", "-", stdin=broken)
    assert done.returncode == 2, done.stderr
    assert "VerifyFailed" in done.stderr
    assert "ExecStrat" in done.stderr
    assert "next: " in done.stderr
    assert (systemd(host, "MainPID"), systemd(host, "ActiveEnterTimestampMonotonic")) == before
    assert "False/VerifyFailed" in tambourine(host, "get", NAME).stdout
    assert applied(host).startswith(f"tambourine/{NAME} configured\n")
    assert (systemd(host, "MainPID"), systemd(host, "ActiveEnterTimestampMonotonic")) == before


def test_a_service_that_fails_is_told_with_its_last_lines(clean: Host) -> None:
    failing = HELLO.replace("exec sleep infinity", "echo cannot open the door; exit 3")
    failing = failing.replace(
        "[Service]\n", "[Service]\n    Type=oneshot\n"
    )  # its start is its run
    done = tambourine(clean, "apply", "-f", "-", stdin=failing)
    assert done.returncode == 1, done.stderr
    assert "is not ready: Ready: Failed" in done.stderr
    assert "exit code 3" in done.stderr or "status=3" in done.stderr
    until(
        "the journal has the last words",
        lambda: "cannot open the door" in tambourine(clean, "status", NAME).stdout,
    )
    assert tambourine(clean, "status", NAME).returncode == 1


def test_what_the_hosts_policy_refuses_ends_with_3(clean: Host) -> None:
    denied = HELLO.replace("name: cli-hello\n  command", "name: ssh\n  command")
    done = tambourine(clean, "apply", "-f", "-", stdin=denied)
    assert done.returncode == 3, done.stderr
    assert "next: tambourine config" in done.stderr
    outside = HELLO + "  files: [{path: /usr/bin/evil, content: x}]\n"
    tambourine(clean, "delete", NAME)
    done = tambourine(clean, "apply", "-f", "-", stdin=outside)
    assert done.returncode == 3, done.stderr
    assert clean.run("test", "-e", "/usr/bin/evil", check=False).returncode == 1


def test_bombshell_stopped_is_4_and_the_service_runs_on(clean: Host) -> None:
    host = clean
    applied(host)
    pid = systemd(host, "MainPID")
    host.run("systemctl", "stop", "tambourine-bombshell.service")
    for arguments in (["get"], ["status", NAME], ["restart", NAME], ["delete", NAME]):
        done = tambourine(host, *arguments)
        assert done.returncode == 4, done.stderr
        assert "systemctl status tambourine-bombshell" in done.stderr
    host.run("systemctl", "start", "tambourine-bombshell.service")
    assert tambourine(host, "status", NAME).returncode == 0
    assert systemd(host, "MainPID") == pid


def test_the_agent_stopped_is_4_and_what_was_written_is_done_later(clean: Host) -> None:
    host = clean
    host.run("systemctl", "stop", "tambourine.service")
    assert tambourine(host, "get").returncode == 4
    done = tambourine(host, "apply", "-f", "-", "--no-wait", stdin=HELLO)
    assert (done.returncode, done.stdout) == (0, f"tambourine/{NAME} created\n")
    host.run("systemctl", "start", "tambourine.service")
    until("it is done", lambda: tambourine(host, "status", NAME).returncode == 0)


def test_a_manifest_from_elsewhere_is_read_only(clean: Host) -> None:
    done = tambourine(
        clean,
        "apply",
        "-f",
        "-",
        stdin=HELLO.replace("{name: cli-", "{namespace: storage, name: cli-"),
    )
    assert done.returncode == 2
    assert "managed in Kubernetes" in done.stderr
    done = tambourine(clean, "restart", "-n", "storage", NAME)
    assert done.returncode == 2
    assert "read-only" in done.stderr


def test_two_command_lines_at_once_lose_nothing(clean: Host) -> None:
    host = clean
    counting = HELLO.replace("echo hello from $$", "echo run >> /var/lib/cli-runs")
    host.run("rm", "-f", "/var/lib/cli-runs")
    applied(host, counting)
    running = [host.popen("tambourine", "restart", NAME) for _ in range(4)]
    for process in running:
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, (out, err)
    tambourine(host, "restart", NAME)
    whole = json.loads(tambourine(host, "get", NAME, "-o", "json").stdout)
    assert whole["metadata"]["generation"] == 6
    # Each of five commands was carried out or overtaken by a later one, none twice; the first start is one more.
    runs = len(host.run("cat", "/var/lib/cli-runs").stdout.splitlines())
    assert 2 <= runs <= 6
    assert whole["status"]["lastCommand"]["commandID"] == whole["spec"]["commandID"]
    host.run("rm", "-f", "/var/lib/cli-runs")


def test_the_configuration_in_force_is_shown(host: Host) -> None:
    text = tambourine(host, "config").stdout
    assert re.search(r'^agent\.namespaces = \["local"\]  # \S+$', text, re.MULTILINE)
    assert tambourine(host, "config", "check", "/etc/tambourine/config.toml").returncode == 0


def test_a_user_outside_the_group_is_told_what_to_do(clean: Host) -> None:
    done = clean.run(
        "setpriv",
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        "tambourine",
        "get",
        check=False,
    )
    assert done.returncode == 4, (done.stdout, done.stderr)
    assert "not permitted" in done.stderr
    assert "usermod -aG tambourine" in done.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_load(host: Host, shell: str) -> None:
    script = tambourine(host, "completion", shell)
    assert script.returncode == 0
    if host.run("sh", "-c", f"command -v {shell}", check=False).returncode != 0:
        pytest.fail(f"{shell} is missing: apt-get install {shell}")
    host.run(shell, "-n", "/dev/stdin", input=script.stdout)
