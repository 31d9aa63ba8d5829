"""The lab itself: hosts are real, apart, and leave nothing."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.chain import wait_until
from tests.lab.cgroups import hierarchies
from tests.lab.hosts import CommandFailed, Host
from tests.lab.state import LabState


def test_input_arguments_and_status_pass_unchanged(bare_host: Host) -> None:
    done = bare_host.run(
        "sh", "-c", 'cat; echo "$1"; exit 7', "sh", "a  b", input="in\n", check=False
    )
    assert (done.stdout, done.returncode) == ("in\na  b\n", 7)
    with pytest.raises(CommandFailed, match="status 7"):
        bare_host.run("sh", "-c", "exit 7")


def test_units_have_memory_and_tasks(bare_host: Host) -> None:
    shown = bare_host.run(
        "systemctl", "show", "-p", "MemoryCurrent,TasksCurrent", "dbus.service"
    ).stdout
    values = dict(line.split("=") for line in shown.splitlines())
    assert int(values["MemoryCurrent"]) > 0
    assert int(values["TasksCurrent"]) > 0


def test_services_of_the_machine_do_not_start_inside(bare_host: Host) -> None:
    enabled = bare_host.run(
        "systemctl", "list-unit-files", "--state=enabled", "--no-legend", check=False
    ).stdout
    assert {line.split()[0] for line in enabled.splitlines()} <= {
        "getty@.service",
        "remote-fs.target",
    }


def test_power_cut_loses_what_was_not_synced(own_bare_host: Host) -> None:
    own_bare_host.run("sh", "-c", "echo kept >/etc/kept; sync; echo lost >/var/lib/lost")
    own_bare_host.crash()
    own_bare_host.start()
    assert own_bare_host.run("cat", "/etc/kept").stdout == "kept\n"
    assert own_bare_host.run("test", "-e", "/var/lib/lost", check=False).returncode == 1


def test_reboot_is_a_reboot(own_bare_host: Host) -> None:
    boot = own_bare_host.run("journalctl", "--list-boots").stdout
    own_bare_host.run("sh", "-c", "echo kept >/usr/local/kept; touch /run/gone")
    own_bare_host.reboot()
    assert (
        len(own_bare_host.run("journalctl", "--list-boots").stdout.splitlines())
        == len(boot.splitlines()) + 1
    )
    assert own_bare_host.run("cat", "/usr/local/kept").stdout == "kept\n"
    assert not Path(own_bare_host.root, "run/gone").exists()


LAB = Path(__file__).parents[1] / "lab/lab"


def lab_command(name: str, *argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([LAB, "--name", name, *argv], text=True, capture_output=True, timeout=120)


def traces(name: str) -> list[str]:
    """Whatever of a lab this machine knows: its directory, cgroups, mounts, loop devices, processes."""
    state = LabState(name)
    found = [str(state.directory)] if state.directory.exists() else []
    found += [str(path) for top in hierarchies() for path in top.glob(f"{state.ident}-*")]
    found += [
        line
        for line in Path("/proc/self/mountinfo").read_text().splitlines()
        if state.ident in line
    ]
    for device in Path("/sys/block").glob("loop*/loop/backing_file"):
        with contextlib.suppress(OSError):
            found += [str(device)] if state.ident in device.read_text() else []
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            text = process.read_text().replace("\0", " ")
            found += [text] if state.ident in text or f"tests.lab.watcher {name}" in text else []
    return found


@pytest.fixture
def lab_name() -> Iterator[str]:
    name = f"t{os.getpid()}"
    yield name
    lab_command(name, "down")


def test_down_leaves_nothing(lab_name: str) -> None:
    assert lab_command(lab_name, "up", "--bare", "--hosts", "2").returncode == 0
    assert traces(lab_name)
    assert lab_command(lab_name, "exec", "h2", "hostname").stdout == "h2\n"
    lab_command(lab_name, "crash", "h2")
    assert lab_command(lab_name, "status").stdout.splitlines()[1].split()[1] == "off"
    assert lab_command(lab_name, "down").returncode == 0
    assert traces(lab_name) == []
    assert lab_command(lab_name, "status").returncode == 1


def test_a_lab_goes_down_with_its_owner_however_that_ends(lab_name: str) -> None:
    with subprocess.Popen(["sleep", "infinity"]) as owner:
        done = lab_command(lab_name, "up", "--bare", "--owner", str(owner.pid))
        assert done.returncode == 0, done.stderr
        owner.kill()
    wait_until(lambda: not traces(lab_name), "the watcher took it down")


def test_up_clears_a_lab_whose_owner_and_watcher_are_gone(lab_name: str) -> None:
    orphan = f"o{os.getpid()}"
    with subprocess.Popen(["sleep", "infinity"]) as owner:
        assert lab_command(orphan, "up", "--bare", "--owner", str(owner.pid)).returncode == 0
        record = json.loads((LabState(orphan).directory / "owner.json").read_text())
        os.kill(record["watcher"]["pid"], signal.SIGKILL)
        owner.kill()
    assert traces(orphan)
    assert lab_command(lab_name, "up", "--bare").returncode == 0
    assert traces(orphan) == []


def test_up_clears_what_an_interrupted_one_left(lab_name: str) -> None:
    with subprocess.Popen(
        [LAB, "--name", lab_name, "up", "--bare"], stderr=subprocess.DEVNULL
    ) as up:
        wait_until(lambda: list(LabState(lab_name).directory.glob("h1/host.json")), "it has begun")
        up.kill()
    assert traces(lab_name)
    assert lab_command(lab_name, "up", "--bare").returncode == 0
    assert lab_command(lab_name, "exec", "h1", "true").returncode == 0


def test_what_it_says_is_for_people(lab_name: str) -> None:
    assert "lab up" in lab_command(lab_name, "--help").stdout
    done = lab_command(lab_name, "exec", "h9", "true")
    assert (done.returncode, done.stderr) == (
        1,
        "lab: no host 'h9' in this lab (hosts: none; run `lab up`)\n",
    )
