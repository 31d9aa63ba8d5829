"""The lab itself: hosts are real, apart, and leave nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.hosts import CommandFailed, Host


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


def test_power_cut_loses_what_was_not_synced(fresh_bare_host: Host) -> None:
    fresh_bare_host.run("sh", "-c", "echo kept >/etc/kept; sync; echo lost >/var/lib/lost")
    fresh_bare_host.crash()
    fresh_bare_host.start()
    assert fresh_bare_host.run("cat", "/etc/kept").stdout == "kept\n"
    assert fresh_bare_host.run("test", "-e", "/var/lib/lost", check=False).returncode == 1


def test_reboot_is_a_reboot(fresh_bare_host: Host) -> None:
    boot = fresh_bare_host.run("journalctl", "--list-boots").stdout
    fresh_bare_host.run("sh", "-c", "echo kept >/usr/local/kept; touch /run/gone")
    fresh_bare_host.reboot()
    assert (
        len(fresh_bare_host.run("journalctl", "--list-boots").stdout.splitlines())
        == len(boot.splitlines()) + 1
    )
    assert fresh_bare_host.run("cat", "/usr/local/kept").stdout == "kept\n"
    assert not Path(fresh_bare_host.root, "run/gone").exists()
