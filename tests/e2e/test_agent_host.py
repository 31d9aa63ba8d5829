"""The agent on a real host, with other people's bugs (BORROWED-TROUBLE 11-16, 18, 22, 23) as tests."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest

from tests.e2e.services import (
    OWN,
    SLEEPS,
    apply,
    condition,
    delete,
    manifest,
    show,
    status,
    unchanged,
    until,
    until_ready,
)
from tests.lab.hosts import Host


@pytest.fixture(autouse=True)
def _taken_back(host: Host) -> Iterator[None]:
    """Whatever a test left in the silo is taken back."""
    yield
    left = host.root / "var/lib/tambourine/silo/local"
    if left.is_dir() and (names := [path.name for path in left.iterdir()]):
        host.run("tambourine", "delete", *names, timeout=120)


def test_install_and_removal_leave_the_host_as_it_was(host: Host) -> None:
    with unchanged(host):
        apply(
            host,
            manifest(
                "e2e-hello",
                unit=SLEEPS,
                command="start",
                files=[
                    {
                        "path": "/etc/e2e/deep/x.conf",
                        "content": "x",
                        "mode": "0640",
                        "group": "tambourine",
                    }
                ],
                dropIns=[{"name": "10-x.conf", "content": "[Service]\nNice=3\n"}],
            ),
        )
        assert show(host, "e2e-hello.service", "Nice") == "3"
        assert show(host, "e2e-hello.service", "UnitFileState") == "enabled"
        about = host.run("stat", "-c", "%a %U %G", "/etc/e2e/deep/x.conf").stdout.strip()
        assert about == "640 root tambourine"
        delete(host, "e2e-hello")


def test_11_a_drop_in_on_a_foreign_unit(host: Host) -> None:
    unit = "/etc/systemd/system/e2e-theirs.service"
    host.run(
        "sh",
        "-c",
        f"mkdir -p {unit}.d; cat > {unit}; printf '[Unit]\\nDescription=x\\n' > {unit}.d/50-theirs.conf",
        input=SLEEPS,
    )
    host.run("systemctl", "daemon-reload")
    host.run("systemctl", "start", "e2e-theirs")
    pid = show(host, "e2e-theirs", "MainPID")
    try:
        with unchanged(host):
            apply(
                host,
                manifest(
                    "e2e-theirs",
                    dropIns=[{"name": "10-ours.conf", "content": "[Service]\nNice=5\n"}],
                ),
            )
            assert "10-ours.conf" in show(host, "e2e-theirs", "DropInPaths")
            delete(host, "e2e-theirs")
        assert "10-ours.conf" not in show(host, "e2e-theirs", "DropInPaths")
        assert "50-theirs.conf" in show(host, "e2e-theirs", "DropInPaths")
        assert show(host, "e2e-theirs", "MainPID") == pid
    finally:
        host.run("systemctl", "stop", "e2e-theirs")
        host.run("rm", "-r", unit, f"{unit}.d")
        host.run("systemctl", "daemon-reload")


def test_12_an_invalid_unit_leaks_nothing_and_holds_up_nobody(host: Host) -> None:
    with unchanged(host):
        bad = manifest("e2e-bad", unit="[Service]\nExecStrt=/bin/true\n", command="start")
        assert apply(host, bad, wait=False) == 0
        apply(host, manifest("e2e-good", unit=SLEEPS, command="start"))
        until(
            lambda: condition(host, "e2e-bad", "Accepted") == ("False", "VerifyFailed"), "refusal"
        )
        assert "ExecStrt" in json.dumps(status(host, "e2e-bad"))
        delete(host, "e2e-bad", "e2e-good")


def test_13_a_unit_that_fails_at_once_makes_no_storm(host: Host) -> None:
    unit = "[Service]\nExecStart=/bin/false\nRestart=always\nRestartSec=10ms\n[Install]\nWantedBy=multi-user.target\n"
    # 0 where it was looked at in the instant that it ran, as systemctl start would say
    assert apply(host, manifest("e2e-fails", unit=unit, command="start"), check=False) in {0, 1}
    until(lambda: show(host, "e2e-fails", "ActiveState") == "failed", "systemd's own limit")
    until(lambda: condition(host, "e2e-fails", "Ready") == ("False", "Failed"), "the failure")
    started = host.run("journalctl", "-u", "e2e-fails", "--no-pager").stdout.count("Started ")
    time.sleep(1)  # in which a hot loop would show
    again = host.run("journalctl", "-u", "e2e-fails", "--no-pager").stdout.count("Started ")
    assert started == again <= 6
    report = status(host, "e2e-fails")
    assert report is not None
    assert report["reason"]
    events = host.run("cat", "/run/tambourine/proc/events.log").stdout
    assert events.count("local/e2e-fails") < 100


@pytest.mark.parametrize("unit", OWN)
def test_14_our_own_services_are_refused(host: Host, unit: str) -> None:
    pid = show(host, unit, "MainPID")
    name = f"e2e-own-{OWN.index(unit)}"
    wanted = manifest(name, command="restart", commandID="1") | {}
    wanted["spec"]["name"] = unit
    assert apply(host, wanted, check=False) in {2, 3}
    directory = f"/var/lib/tambourine/silo/local/{name}"  # past the command line
    wanted["metadata"] |= {"uid": "x", "generation": 1}
    script = (
        f"mkdir -p {directory}; cat > {directory}/.t; mv {directory}/.t {directory}/tambourine.json"
    )
    host.run("runuser", "-u", "bombshell", "--", "sh", "-ec", script, input=json.dumps(wanted))
    until(lambda: condition(host, name, "Accepted")[0] == "False", "refusal")
    assert show(host, unit, "MainPID") == pid


def test_14_denied_units_are_observed(host: Host) -> None:
    wanted = manifest("e2e-denied")
    wanted["spec"]["name"] = "systemd-journald"
    apply(host, wanted)
    report = status(host, "e2e-denied")
    assert report is not None
    assert report["active"].startswith("active (running)")
    wanted["spec"]["command"] = "restart"
    assert apply(host, wanted, check=False) == 3


@pytest.mark.parametrize("how", ["stop", "restart", "kill"])
def test_15_managed_units_run_on_without_us(host: Host, how: str) -> None:
    apply(host, manifest("e2e-on", unit=SLEEPS, command="start"))
    pid = show(host, "e2e-on", "MainPID")
    before = show(host, "tambourine", "MainPID")
    if how == "kill":
        host.run("systemctl", "kill", "-s", "KILL", "tambourine")
    else:
        host.run("systemctl", how, "tambourine")
    if how == "stop":
        assert show(host, "e2e-on", "MainPID") == pid
        host.run("systemctl", "start", "tambourine")
    until(lambda: show(host, "tambourine", "MainPID") not in {before, "0"}, "a new agent")
    until_ready(host, "e2e-on")
    assert show(host, "e2e-on", "MainPID") == pid
    assert show(host, "e2e-on", "ActiveState") == "active"


@pytest.mark.timing
def test_16_what_a_person_does_is_in_the_status_within_a_second(host: Host) -> None:
    apply(host, manifest("e2e-hand", unit=SLEEPS, command="start"))

    def ready() -> tuple[str, str]:
        return condition(host, "e2e-hand", "Ready")

    host.run("systemctl", "stop", "e2e-hand")
    until(lambda: ready() == ("False", "Drifted"), "stopped", within=1)
    host.run("systemctl", "start", "e2e-hand")
    until(lambda: ready() == ("True", "Ready"), "started", within=1)

    def loaded() -> str:
        return str((status(host, "e2e-hand") or {}).get("loaded"))

    host.run("systemctl", "disable", "e2e-hand")
    until(lambda: "; disabled; " in loaded(), "disabled", within=1)
    assert ready() == ("True", "Ready")
    text = host.run("cat", "/etc/systemd/system/e2e-hand.service").stdout
    # `systemctl mask` refuses where /etc has the unit, and below /run it would not count: a link by hand is what does.
    assert host.run("systemctl", "mask", "e2e-hand", check=False).returncode
    host.run("ln", "-sf", "/dev/null", "/etc/systemd/system/e2e-hand.service")
    host.run("systemctl", "daemon-reload")
    until(lambda: loaded().startswith("masked "), "masked", within=1)
    until(lambda: ready() == ("False", "Drifted"), "masked", within=1)
    assert "masked on the host" in json.dumps(status(host, "e2e-hand"))
    assert show(host, "e2e-hand", "ActiveState") == "active"
    host.run("systemctl", "unmask", "e2e-hand")
    host.run("tee", "/etc/systemd/system/e2e-hand.service", input=text)
    host.run("systemctl", "daemon-reload")
    until(lambda: ready() == ("True", "Ready"), "as it was", within=1)
    host.run("sh", "-c", "echo '# by hand' >> /etc/systemd/system/e2e-hand.service")
    until(lambda: ready() == ("False", "Drifted"), "edited", within=1)
    host.run("rm", "/etc/systemd/system/e2e-hand.service")
    host.run("systemctl", "daemon-reload")
    until(lambda: "was removed" in json.dumps(status(host, "e2e-hand")), "deleted", within=1)
    assert show(host, "e2e-hand", "ActiveState") == "active"
    # None of it was undone; an order is what lays the file down and enables the unit again.
    assert host.run("test", "-e", "/etc/systemd/system/e2e-hand.service", check=False).returncode
    apply(host, manifest("e2e-hand", unit=SLEEPS + "# again\n", command="start"))
    assert show(host, "e2e-hand", "UnitFileState") == "enabled"
    delete(host, "e2e-hand")


def test_18_each_restart_token_at_most_once_and_the_last_one_wins(host: Host) -> None:
    host.run("rm", "-f", "/var/tmp/e2e-starts")
    unit = (
        "[Service]\nExecStart=/bin/sh -c 'echo x >> /var/tmp/e2e-starts; exec sleep infinity'\n"
        "ExecStartPost=/bin/sleep 0.5\n"
    )

    def starts() -> int:
        return int(host.run("sh", "-c", "wc -l < /var/tmp/e2e-starts").stdout)

    def command(token: str, *, wait: bool) -> None:
        apply(host, manifest("e2e-token", unit=unit, command="restart", commandID=token), wait=wait)

    command("1", wait=True)
    assert starts() == 1
    command("2", wait=False)
    command("2", wait=False)
    until(
        lambda: (status(host, "e2e-token") or {}).get("lastCommand", {}).get("commandID") == "2",
        "2",
    )
    command("3", wait=False)
    command("4", wait=True)
    report = status(host, "e2e-token")
    assert report is not None
    assert report["lastCommand"]["commandID"] == "4"
    assert report["lastCommand"]["result"] == "done"
    assert starts() in {3, 4}  # 3 was overtaken, or not
    host.run("systemctl", "restart", "tambourine")
    until_ready(host, "e2e-token")
    assert starts() in {3, 4}


def test_19_a_slow_start_holds_up_nobody(host: Host) -> None:
    slow = "[Service]\nType=oneshot\nExecStart=/bin/sleep infinity\nTimeoutStartSec=infinity\n"
    apply(host, manifest("e2e-slow", unit=slow, command="start"), wait=False)
    until(lambda: show(host, "e2e-slow", "ActiveState") == "activating", "the slow one")
    apply(host, manifest("e2e-quick", unit=SLEEPS, command="start"))
    assert condition(host, "e2e-slow", "Ready") == ("Unknown", "Starting")
    delete(host, "e2e-slow")  # stops it
    assert show(host, "e2e-slow", "ActiveState") == "inactive"


@pytest.fixture
def bare_silo(host: Host) -> str:
    """Run a command as the silo's writer, below the mount; the namespace is there."""
    host.run("runuser", "-u", "bombshell", "--", "mkdir", "-p", "/var/lib/tambourine/silo/local")
    return "/var/lib/tambourine/silo/local"


def test_22_directories_renamed_removed_and_made_again_at_once(host: Host, bare_silo: str) -> None:
    text = json.dumps(manifest("e2e-x", unit=SLEEPS, command="start"))
    script = f"""\
import os, pathlib
os.chdir({bare_silo!r})
for last in 200 * [False] + [True]:
    os.mkdir("e2e-x")
    file = pathlib.Path("e2e-x/.t" if last else "e2e-x/tambourine.json")
    file.write_text({text!r})
    if last:
        file.rename("e2e-x/tambourine.json")
    else:
        os.rename("e2e-x", "e2e-y")
        os.rename("e2e-y", "e2e-x")
        file.unlink()
        os.rmdir("e2e-x")
"""
    host.run("runuser", "-u", "bombshell", "--", "/usr/bin/python3", "-c", script, timeout=120)
    until_ready(host, "e2e-x")
    assert show(host, "e2e-x", "ActiveState") == "active"
    host.run(
        "runuser",
        "-u",
        "bombshell",
        "--",
        "sh",
        "-ec",
        f"cd {bare_silo}/.. && mv local gone && rm -r gone && mkdir local",
    )
    until(lambda: status(host, "e2e-x") is None, "removal")
    until(lambda: show(host, "e2e-x", "ActiveState") == "inactive", "its end")


def test_23_a_silo_that_is_not_there_removes_nothing(host: Host) -> None:
    apply(host, manifest("e2e-keep", unit=SLEEPS, command="start"))
    pid = show(host, "e2e-keep", "MainPID")
    away = "/run/systemd/system/tambourine-silo.service.d"  # the agent would want it back
    host.run(
        "sh", "-c", f"mkdir -p {away}; printf '[Unit]\nConditionPathExists=/x\n' > {away}/x.conf"
    )
    host.run("systemctl", "daemon-reload")
    host.run("systemctl", "stop", "tambourine-silo")
    until(
        lambda: condition(host, "e2e-keep", "Applied") == ("Unknown", "SiloUnavailable"), "the news"
    )
    host.run("systemctl", "restart", "tambourine")  # an agent that never saw it
    until(
        lambda: condition(host, "e2e-keep", "Applied") == ("Unknown", "SiloUnavailable"), "the news"
    )
    assert show(host, "e2e-keep", "MainPID") == pid
    host.run("rm", "-r", away)
    host.run("systemctl", "daemon-reload")
    host.run("systemctl", "start", "tambourine-silo")
    until_ready(host, "e2e-keep")
    host.run("mount", "-t", "tmpfs", "over", "/var/lib/tambourine/silo")  # an empty directory there
    until(
        lambda: condition(host, "e2e-keep", "Applied") == ("Unknown", "SiloUnavailable"), "the news"
    )
    host.run("umount", "/var/lib/tambourine/silo")
    until_ready(host, "e2e-keep")
    host.run("systemctl", "kill", "-s", "KILL", "tambourine-silo")
    until(lambda: show(host, "tambourine-silo", "ActiveState") == "active", "the silo again")
    until_ready(host, "e2e-keep")
    assert show(host, "e2e-keep", "MainPID") == pid


def test_the_agent_cannot_write_the_silo(host: Host) -> None:
    pid = show(host, "tambourine", "MainPID")
    done = host.run(
        "nsenter",
        f"--target={pid}",
        "--mount",
        "--",
        "touch",
        "/var/lib/tambourine/silo/x",
        check=False,
    )
    assert done.returncode != 0
    assert "Permission denied" in done.stderr or "Read-only" in done.stderr
