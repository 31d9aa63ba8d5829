"""Upgrade to a newer package, then purge: services run on, and nothing else is left."""

from __future__ import annotations

from pathlib import Path

from tests.daemons import DAEMONS
from tests.lab import package
from tests.machine.installing import PACKAGES, apt, packages
from tests.machine.machine import Machine
from tests.machine.waiting import wait_until

HELLO = "/root/k8s/examples/hello.yaml"
PLACES = (
    *(
        "/opt/tambourine",
        "/etc/tambourine",
        "/var/lib/tambourine",
        "/run/tambourine",
        "/proc/tambourine",
    ),
    *("/usr/bin/tambourine", "/usr/local/bin/tambourine", "/dev/tambourine"),
    *("/usr/lib/modules-load.d/tambourine.conf", "/usr/lib/sysusers.d/tambourine.conf"),
    *("/usr/lib/tmpfiles.d/tambourine.conf", "/var/lib/dkms/tambourine"),
)


NEWER = "99.0"
PATIENCE = 240.0  # seconds


def pids(machine: Machine, *units: str) -> list[str]:
    asked = ("systemctl", "show", "--property=MainPID", "--value")
    return machine.run(*asked, *units).stdout.split()


def pid_of_hello(machine: Machine) -> str:
    [pid] = pids(machine, "hello.service")
    return pid


def shows_hello(machine: Machine) -> bool:
    """Whether /proc/tambourine is our mount and answers with a service's status."""
    script = "findmnt -no FSTYPE /proc/tambourine && cat /proc/tambourine/local/hello/status"
    said = machine.run("sh", "-c", script, check=False)
    return said.returncode == 0 and said.stdout.startswith("fuse.tambourine\n● hello.service - ")


def test_the_agent_is_killed_and_proc_tambourine_comes_back(machine: Machine) -> None:
    """It goes with the agent's mount; systemd brings back both, and the process that holds the module."""
    machine.run("tambourine", "apply", "-f", HELLO, "--timeout", "240")
    hello, [agent] = pid_of_hello(machine), pids(machine, "tambourine.service")
    assert shows_hello(machine)
    machine.run("kill", "-KILL", agent)
    wait_until(lambda: pids(machine, "tambourine.service") not in (["0"], [agent]), PATIENCE, "a new agent")  # fmt: skip
    wait_until(lambda: shows_hello(machine), PATIENCE, "the statuses at /proc/tambourine")
    wait_until(lambda: pids(machine, "tambourine-module.service") != ["0"], PATIENCE, "its holder")
    assert machine.run("rmmod", "tambourine", check=False).returncode != 0
    assert machine.run("systemctl", "--failed", "--no-legend", "--plain").stdout == ""
    assert pid_of_hello(machine) == hello


def test_an_update_restarts_the_daemons_and_touches_no_service(
    machine: Machine, tmp_path: Path
) -> None:
    machine.run("tambourine", "apply", "-f", HELLO, "--timeout", "240")
    hello, daemons = pid_of_hello(machine), pids(machine, *DAEMONS)
    # The module's package is left out: DKMS would compile it once more, which is minutes of an emulated processor.
    newer = package.as_version(packages()[0], NEWER, tmp_path)
    machine.send(newer, to="/root", base=tmp_path)
    apt(machine, "install", f"/root/{newer.name}")
    now = pids(machine, *DAEMONS)
    assert "0" not in now
    assert not set(now) & set(daemons), "each of the daemons was restarted"
    assert pid_of_hello(machine) == hello != "0"
    wait_until(lambda: shows_hello(machine), PATIENCE, "the statuses at /proc/tambourine")
    # By the new agent, and it takes orders.
    assert machine.run("cat", "/proc/tambourine/version.txt").stdout == f"{NEWER}\n"
    machine.run("tambourine", "status", "hello")


def test_a_purge_leaves_the_services_and_nothing_of_ours(machine: Machine) -> None:
    machine.run("tambourine", "apply", "-f", HELLO, "--timeout", "240")
    before = pid_of_hello(machine)
    apt(machine, "purge", *PACKAGES)
    assert pid_of_hello(machine) == before != "0"
    left = machine.run(
        "sh", "-c", 'for p; do test -e "$p" && echo "$p"; done; true', "sh", *PLACES
    ).stdout
    assert left == ""
    for asked in (
        ["findmnt", "-rno", "TARGET", "-t", "fuse.tambourine,fuse.tambourine-silo"],
        ["sh", "-c", "grep -w tambourine /proc/modules"],
        ["sh", "-c", "grep -E '^(bombshell|tambourine)' /etc/passwd /etc/group"],
        ["sh", "-c", "systemctl list-unit-files --no-legend --plain | grep tambourine"],
        [
            "sh",
            "-c",
            "find / -xdev -path /root -prune -o -name '*tambourine*' -print | grep -v '^/var/\\(log\\|lib/dpkg\\)'",
        ],
        ["pgrep", "-af", "tambourine"],
    ):
        assert machine.run(*asked, check=False).stdout == "", asked
    # It was installed by Tambourine, and is an ordinary unit.
    machine.run("systemctl", "disable", "--now", "hello.service")
