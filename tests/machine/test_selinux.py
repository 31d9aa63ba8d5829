"""Booted with SELinux instead of AppArmor: the example's module is installed, labels its directory, and is taken away."""

from __future__ import annotations

import pytest

from tests.machine.machine import Machine
from tests.machine.qemu import SELINUX
from tests.machine.test_examples import PROC, applied

SECRETS = "/var/lib/node-secrets"


@pytest.fixture
def selinux(machine: Machine) -> Machine:
    if SELINUX not in machine.run("cat", "/proc/cmdline").stdout:
        machine.reboot(SELINUX)
    return machine


def label(machine: Machine, path: str) -> str:
    return machine.run("stat", "-c", "%C", path).stdout.strip()


def test_selinux_labels_by_a_module_that_goes_with_the_service(selinux: Machine) -> None:
    machine = selinux
    assert machine.run("cat", "/sys/fs/selinux/enforce").stdout in {"0", "1"}, (
        "the policy is loaded"
    )
    with applied(machine, "selinux", "selinux-module"):
        assert "node_secrets" in machine.run("semodule", "--list").stdout.split()
        assert label(machine, SECRETS) == "system_u:object_r:node_secrets_t:s0"
        assert machine.run("cat", f"{PROC}/selinux-module/active").stdout.startswith(
            "active (exited)"
        )
    assert "node_secrets" not in machine.run("semodule", "--list").stdout.split()
    assert "node_secrets_t" not in label(machine, SECRETS)
