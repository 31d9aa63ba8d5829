"""A reboot: all is back without a person. It goes into a kernel with SELinux, whose tests come next."""

from __future__ import annotations

from tests.daemons import DAEMONS
from tests.machine.machine import Machine
from tests.machine.qemu import SELINUX
from tests.machine.waiting import wait_until

HELLO = "/root/k8s/examples/hello.yaml"


def boot_id(machine: Machine) -> str:
    return machine.run("cat", "/proc/sys/kernel/random/boot_id").stdout


def test_after_a_reboot_all_is_back_without_a_person(machine: Machine) -> None:
    machine.run("tambourine", "apply", "-f", HELLO, "--timeout", "240")
    before = boot_id(machine)
    machine.reboot(SELINUX)
    assert boot_id(machine) != before
    assert (
        machine.run(
            "systemctl", "is-active", *DAEMONS, "hello.service", "proc-tambourine.mount"
        ).stdout
        == "active\n" * 5
    )
    assert machine.run("findmnt", "-no", "FSTYPE", "/proc/tambourine").stdout == "fuse.tambourine\n"
    path = "/proc/tambourine/local/hello/active"
    wait_until(
        lambda: machine.run("cat", path).stdout.startswith("active (running)"),
        240,
        "hello's status",
    )
    # And it takes orders again.
    machine.run("tambourine", "restart", "hello", "--timeout", "240")
