"""The package is installed over itself, and in the end purged: services run on, and nothing of ours is left."""

from __future__ import annotations

from tests.machine.installing import PACKAGES, apt, packages
from tests.machine.machine import Machine

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


def pid_of_hello(machine: Machine) -> str:
    return machine.run("systemctl", "show", "--property=MainPID", "--value", "hello.service").stdout


def test_an_update_touches_no_service(machine: Machine) -> None:
    machine.run("tambourine", "apply", "-f", HELLO, "--timeout", "240")
    before = pid_of_hello(machine)
    # The module's package is left out: DKMS would compile it once more, which is minutes of an emulated processor.
    [daemons, _] = packages()
    apt(machine, "install", "--reinstall", f"/root/{daemons.name}")
    assert pid_of_hello(machine) == before != "0\n"
    machine.run("tambourine", "status", "hello")
    assert machine.run("findmnt", "-no", "FSTYPE", "/proc/tambourine").stdout == "fuse.tambourine\n"


def test_a_purge_leaves_the_services_and_nothing_of_ours(machine: Machine) -> None:
    machine.run("tambourine", "apply", "-f", HELLO, "--timeout", "240")
    before = pid_of_hello(machine)
    apt(machine, "purge", *PACKAGES)
    assert pid_of_hello(machine) == before != "0\n"
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
