"""`tambourine doctor` on a host with the packages and its own kernel.

Each part that only such a host has is broken in turn, reported, and fixed by the command that doctor
prints below it.
"""

from __future__ import annotations

import pytest

from tambourinefs import __version__
from tests.e2e.doctor import Fault, Line, break_and_fix, examine, find, shell
from tests.machine.installing import packages
from tests.machine.machine import Machine

PATIENCE = 900.0  # seconds; the module is compiled by an emulated processor
UNITS = "/usr/lib/systemd/system"
MOUNT_UNIT = "proc-tambourine.mount"
MOUNTED = "findmnt -rno FSTYPE /proc/tambourine | tail -n 1 | grep -qx fuse.tambourine"
# The process that holds the module goes a moment after the mount.
UNLOAD = (
    "systemctl stop proc-tambourine.mount;"
    " timeout 240 sh -c 'until rmmod tambourine 2>/dev/null; do :; done'"
)
UNLOADED = "! test -e /proc/tambourine"
# Over the living one, which mounts.mount_fd would not do.
DEAD = (
    "import os; from tambourinefs.mount import mounts; fd = os.open('/dev/fuse', os.O_RDWR);"
    "mounts._mount('dead', '/proc/tambourine', 'fuse.tambourine', 0, mounts._DATA.format(fd=fd))"
)

CLOCK = [Line("clock", state, "", "") for state in ("warning", "unknown")]

FAULTS = (
    Fault(
        "the mount is stopped", "systemctl stop proc-tambourine.mount", f"! {MOUNTED}",
        "module", "nothing is mounted at", "warning",
    ),
    Fault("the module is unloaded", UNLOAD, UNLOADED, "module", "not loaded", "warning"),
    Fault(
        "another's mount covers it", "mount -t tmpfs theirs /proc/tambourine", "findmnt -t tmpfs /proc/tambourine",
        "module", r"covered by another file system \(tmpfs\)",
    ),
    Fault(
        "a mount whose server has exited", f'/opt/tambourine/bin/python -c "{DEAD}"',
        "stat --file-system /proc/tambourine 2>&1 | grep 'not connected'", "module", "whose server has exited",
    ),
    Fault(
        "a mount whose server hangs",
        "systemctl service-watchdogs no; systemctl kill --signal=SIGSTOP tambourine.service",
        "timeout 5 cat /proc/tambourine/metrics.prom; test $? -eq 124", "module", "does not answer",
        after="systemctl service-watchdogs yes",
    ),
    Fault(
        "its unit is gone", f"rm {UNITS}/{MOUNT_UNIT}; systemctl daemon-reload", f"! test -e {UNITS}/{MOUNT_UNIT}",
        "units", f"{MOUNT_UNIT} is not installed",
    ),
)  # fmt: skip


@pytest.fixture(scope="module")
def healthy(_installed: Machine) -> list[Line]:
    """What is found of the machine before the first fault; each is over only when nothing worse is found again."""
    found = examine(_installed, code=0, seconds=PATIENCE)
    # Nothing keeps its clock, which is so: it has no network. And who is asked about it may take longer than doctor waits.
    return [one for one in found if one.check != "clock"] + CLOCK


def test_healthy_machine_is_ok(healthy: list[Line]) -> None:
    for check, says in (("module", "/proc/tambourine shows the statuses"), ("cgroup", "version 2")):
        line = find(healthy, check, says)
        assert line is not None, healthy
        assert line.state == "ok"
    assert {one.check for one in healthy if one.state != "ok"} <= {"clock"}, healthy


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_fault_is_reported_and_fixed_by_its_command(
    machine: Machine, healthy: list[Line], fault: Fault
) -> None:
    break_and_fix(machine, fault, patience=PATIENCE, healthy=healthy)
    assert not shell(machine, MOUNTED, timeout=PATIENCE)


def test_module_is_built_from_installed_sources(machine: Machine, healthy: list[Line]) -> None:
    """As where only the package tambourine is: then the kernel's directory is made by the source that it brings."""
    [_, dkms] = packages()
    apt = "env DEBIAN_FRONTEND=noninteractive apt-get --yes"
    fault = Fault(
        "no package of the module", f"{UNLOAD}; {apt} purge tambourine-dkms",
        f"{UNLOADED} && ! test -e /var/lib/dkms/tambourine", "module", "not loaded", "warning",
        # kernel/README.md tells how to undo it.
        after=f"dkms remove tambourine/{__version__} --all;"
        f" rm -r /usr/src/tambourine-{__version__} /usr/lib/modules-load.d/tambourine.conf;"
        f" {apt} install /root/{dkms.name}",
    )  # fmt: skip
    break_and_fix(machine, fault, patience=PATIENCE, healthy=healthy)
    assert not shell(machine, MOUNTED, timeout=PATIENCE)
