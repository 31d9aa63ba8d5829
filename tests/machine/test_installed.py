"""Installed as a user would: the path that the founding document names, and values that are systemctl's, on cgroup v2."""

from __future__ import annotations

import re

import pytest

from tests.e2e.test_values import differences, ours_of, systemctl, values_of
from tests.machine.machine import Machine
from tests.machine.waiting import wait_until

HELLO = "/root/k8s/examples/hello.yaml"
# A service with several processes, in cgroups of its own making below its own.
TREE = """\
apiVersion: tambourine.dev/v1alpha1
kind: Tambourine
metadata:
  name: tree
spec:
  name: tree
  command: start
  unit: |
    [Service]
    Delegate=yes
    ExecStart=sh -c 'g=/sys/fs/cgroup$$(cut -d: -f3 /proc/self/cgroup); mkdir $$g/a $$g/a/b; \\
        for c in a a/b a/b; do sleep infinity & echo $$! >$$g/$$c/cgroup.procs; done; \\
        echo $$$$ >$$g/a/cgroup.procs; wait'
"""


@pytest.fixture(scope="module", autouse=True)
def _hello(_installed: Machine) -> None:
    """Stays for the tests of reboot and power cut."""
    _installed.run("tambourine", "apply", "-f", HELLO, "--timeout", "240")


def test_the_machine_is_debians_own(machine: Machine) -> None:
    assert re.match(r"6\.1\.", machine.run("uname", "-r").stdout)
    assert machine.run("findmnt", "-no", "FSTYPE", "/").stdout == "ext4\n"
    assert machine.run("findmnt", "-no", "FSTYPE", "/sys/fs/cgroup").stdout == "cgroup2\n"
    assert machine.run("systemd-detect-virt", check=False).stdout.strip() in {"qemu", "kvm"}


def test_proc_tambourine_is_our_mount(machine: Machine) -> None:
    assert machine.run("findmnt", "-no", "FSTYPE", "/proc/tambourine").stdout == "fuse.tambourine\n"
    same = machine.run(
        "stat", "-c", "%d:%i", "/proc/tambourine", "/run/tambourine/proc"
    ).stdout.split()
    assert len(set(same)) == 1
    assert machine.run("lsmod").stdout.count("\ntambourine ") == 1


def test_the_status_is_where_the_founding_document_says(machine: Machine) -> None:
    said = machine.run("cat", "/proc/tambourine/local/hello/status").stdout
    assert said.startswith("● hello.service - Hello from Tambourine\n")
    assert "\n     Active: active (running) since " in said


@pytest.mark.parametrize("name", ["hello", "tree"])
def test_tasks_memory_and_cgroup_are_systemctls(machine: Machine, name: str) -> None:
    if name == "tree":
        machine.run("tambourine", "apply", "-f", "-", "--timeout", "240", input=TREE)
    try:
        found: dict[str, tuple[str, str]] = {"": ("", "")}

        def same() -> bool:
            theirs = values_of(systemctl(machine, f"{name}.service"))
            assert theirs["tasks"], "cgroup v2 counts them"
            assert theirs["memory"]
            assert theirs["cgroup"].startswith("/system.slice/")
            found.update(differences(ours_of(machine, name), theirs))
            return not differences(
                ours_of(machine, name), {k: theirs[k] for k in ("tasks", "memory", "cgroup", "pid")}
            )

        wait_until(same, 240, f"the same values: {found}")
        if name == "tree":
            assert machine.run("cat", "/proc/tambourine/local/tree/tasks").stdout.startswith("4")
    finally:
        if name == "tree":
            machine.run("tambourine", "delete", "tree", "--timeout", "240")


def test_the_module_is_busy_while_the_mount_is_there(machine: Machine) -> None:
    refused = machine.run("rmmod", "tambourine", check=False)
    assert refused.returncode != 0
    assert "in use" in refused.stderr
    assert machine.run("findmnt", "-no", "FSTYPE", "/proc/tambourine").stdout == "fuse.tambourine\n"
