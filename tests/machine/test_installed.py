"""Installed as a user would: the path that the founding document names, and values that are systemctl's, on cgroup v2."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.test_values import differences, ours_of, systemctl, values_of
from tests.machine.machine import Machine
from tests.machine.waiting import wait_until

PAGE = Path(__file__).parents[2] / "docs/mounting.md"
LITERAL = "/proc/tambourine"
MOUNT = "proc-tambourine.mount"
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


def test_the_mount_is_busy_while_somebody_is_there_and_the_way_out_is_named(
    machine: Machine,
) -> None:
    done = machine.run("sh", "-c", f"cd {LITERAL} && umount {LITERAL}", check=False)
    assert done.returncode == 32
    assert f"umount: {LITERAL}: target is busy." in done.stderr
    assert f"systemctl stop {MOUNT}" in done.stderr
    assert machine.run("findmnt", "-no", "FSTYPE", LITERAL).stdout == "fuse.tambourine\n"


@pytest.fixture
def unmounted(machine: Machine) -> Iterator[Machine]:
    """Nothing is mounted at /proc/tambourine; afterwards the statuses are, by our unit."""
    machine.run("systemctl", "stop", MOUNT)
    assert machine.run("findmnt", LITERAL, check=False).stdout == ""
    yield machine
    machine.run("systemctl", "restart", MOUNT)
    assert shown(machine)


def shown(machine: Machine) -> bool:
    """Whether the statuses, and nothing else, are mounted there once, and answer."""
    mounts = machine.run("findmnt", "-rno", "FSTYPE", LITERAL, check=False).stdout
    said = machine.run("cat", f"{LITERAL}/local/hello/status", check=False).stdout
    return mounts == "fuse.tambourine\n" and said.startswith("● hello.service")


def active(machine: Machine, *units: str) -> list[str]:
    return machine.run("systemctl", "is-active", *units, check=False).stdout.split()


def test_the_literal_path_is_mounted_by_hand(unmounted: Machine) -> None:
    machine = unmounted
    machine.run("mount", "-t", "fuse.tambourine", "proc", LITERAL)
    assert shown(machine)
    # By our unit: so it goes with the agent, and the module is held.
    assert active(machine, MOUNT, "tambourine-module.service") == ["active", "active"]
    assert machine.run("rmmod", "tambourine", check=False).returncode != 0
    again = machine.run("mount", "-t", "fuse.tambourine", "proc", LITERAL, check=False)
    assert again.returncode == 32
    assert f"error: {LITERAL} is mounted already: {MOUNT} serves it" in again.stderr
    machine.run("umount", LITERAL)
    wait_until(
        lambda: active(machine, MOUNT, "tambourine-module.service") == ["inactive"] * 2,
        240,
        "the module's holder has stopped",
    )


def test_the_literal_path_is_mounted_by_its_line_in_fstab(unmounted: Machine) -> None:
    machine = unmounted
    [line] = re.findall(rf"^ *(tambourine-proc +{LITERAL} .*)$", PAGE.read_text(), re.MULTILINE)
    fstab = machine.run("cat", "/etc/fstab").stdout
    machine.run("sh", "-c", "cat >>/etc/fstab && systemctl daemon-reload", input=f"{line}\n")
    try:
        assert machine.run("systemctl", "show", "-P", "SourcePath", MOUNT).stdout == "/etc/fstab\n"
        for up, down in (
            (("mount", LITERAL), ("umount", LITERAL)),
            (("systemctl", "start", MOUNT), ("systemctl", "stop", MOUNT)),
        ):
            machine.run(*up)
            assert shown(machine)
            assert active(machine, "tambourine-module.service") == ["active"]
            machine.run("mount", "--all")  # it is there: nothing to do
            assert shown(machine)
            machine.run(*down)
            assert machine.run("findmnt", LITERAL, check=False).stdout == ""
    finally:
        machine.run("sh", "-c", "cat >/etc/fstab && systemctl daemon-reload", input=fstab)


def test_an_installation_says_whose_mount_covers_ours(machine: Machine) -> None:
    machine.run("mount", "-t", "tmpfs", "theirs", LITERAL)
    try:
        # The agent's own mount, of which ours here is a bind, is not covered with it.
        told = machine.run("findmnt", "-rno", "FSTYPE", "/run/tambourine/proc").stdout
        assert told == "fuse.tambourine\n"
        done = machine.run("tambourine", "install", "--packaged", check=False)
        assert done.returncode != 0
        said = f"{LITERAL} is a mount point of Tambourine, and theirs (tmpfs) is mounted there"
        assert said in done.stderr
        assert f"umount {LITERAL}" in done.stderr
        mounted = machine.run("mount", "-t", "fuse.tambourine", "proc", LITERAL, check=False)
        assert mounted.returncode == 32
        assert f"{LITERAL} already carries a tmpfs (theirs)" in mounted.stderr
    finally:
        machine.run("umount", LITERAL)
    assert shown(machine)


def test_what_another_mounts_in_place_of_ours_is_taken_away(unmounted: Machine) -> None:
    """By systemd, for which it is our unit's mount: without what holds the module it goes."""
    unmounted.run("mount", "-t", "tmpfs", "theirs", LITERAL)
    gone = ("findmnt", LITERAL)
    wait_until(lambda: not unmounted.run(*gone, check=False).stdout, 240, "the other's mount goes")
