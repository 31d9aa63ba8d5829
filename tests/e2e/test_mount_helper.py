"""`mount -t fuse.tambourine` and `umount`, by hand and from /etc/fstab; and a host without Tambourine's kernel module.

The literal /proc/tambourine needs a kernel that loads modules: tests/machine.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tambourinefs.mount import mounts
from tests.daemons import AGENT, DAEMONS, SILO
from tests.e2e.chain import answers, apply, delete, pids, prop, wait_answering, wait_until
from tests.lab.hosts import Host
from tests.transcript import Step, play, steps

STORE = "/var/lib/tambourine/silo"
STATUSES = "/run/tambourine/proc"
UNITS = {STORE: SILO, STATUSES: AGENT}
SPECS = {STORE: "silo", STATUSES: "proc"}
PAGE = Path(__file__).parents[2] / "docs/mounting.md"
both = pytest.mark.parametrize("place", [STORE, STATUSES], ids=["silo", "proc"])


def mounted(host: Host, place: str) -> list[mounts.Mount]:
    table = mounts.parse((host.root / "proc/1/mountinfo").read_bytes())
    return [mount for mount in table if mount.mountpoint == place.encode()]


def ended(host: Host, unit: str) -> bool:
    return prop(host, unit, "ActiveState") == "inactive"


@pytest.fixture
def served(host: Host) -> Iterator[Host]:
    """The shared host, and its chain works again afterwards."""
    yield host
    if not answers(host):
        host.run("systemctl", "start", *DAEMONS)
        wait_answering(host)


@both
def test_unmounting_by_hand_is_a_clean_stop(served: Host, place: str) -> None:
    unit = UNITS[place]
    started = prop(served, unit, "NRestarts")
    served.run("umount", place)
    wait_until(lambda: ended(served, unit), f"{unit} has ended")
    assert prop(served, unit, "Result") == "success"
    assert prop(served, unit, "NRestarts") == started
    assert served.run("systemctl", "--failed", "--no-legend").stdout == ""
    assert mounted(served, place) == []
    assert f"{place} was unmounted" in served.run("journalctl", "-b", "-u", unit).stdout


@both
def test_mounting_by_hand_starts_the_unit(served: Host, place: str) -> None:
    served.run("systemctl", "stop", UNITS[place])
    assert mounted(served, place) == []
    served.run("mount", "-t", "fuse.tambourine", SPECS[place], place)
    assert prop(served, UNITS[place], "ActiveState") == "active"
    assert [mount.is_tambourine for mount in mounted(served, place)] == [True]
    wait_answering(served)


@both
@pytest.mark.parametrize("how", [[], ["-l"]], ids=["", "lazily"])
def test_unmounted_and_mounted_at_once(served: Host, place: str, how: list[str]) -> None:
    """The server of the first has perhaps not ended yet when the second is asked for."""
    before = pids(served, UNITS[place])
    script = 'umount $3 "$1" && exec mount -t fuse.tambourine "$2" "$1"'
    served.run("sh", "-c", script, "-", place, SPECS[place], *how)
    assert len(mounted(served, place)) == 1
    assert pids(served, UNITS[place]) not in {before, (0,)}
    wait_answering(served)


@both
def test_a_second_mount_is_refused_with_a_reason(served: Host, place: str) -> None:
    before = pids(served, *DAEMONS)
    done = served.run("mount", "-t", "fuse.tambourine", SPECS[place], place, check=False)
    assert done.returncode == 32
    assert f"error: {place} is mounted already: {UNITS[place]} serves it" in done.stderr
    assert len(mounted(served, place)) == 1
    assert pids(served, *DAEMONS) == before


@both
def test_what_is_in_use_stays_and_the_way_out_is_named(served: Host, place: str) -> None:
    before = pids(served, *DAEMONS)
    user = served.popen("sh", "-c", 'cd "$1" && echo there && exec sleep infinity', "-", place)
    try:
        assert user.stdout is not None
        assert user.stdout.readline() == "there\n"
        for named in (place, f"tambourine-{SPECS[place]}"):
            done = served.run("umount", named, check=False)
            assert done.returncode == 32
            assert f"umount: {place}: target is busy." in done.stderr
            assert f"systemctl stop {UNITS[place]}" in done.stderr
        assert pids(served, *DAEMONS) == before
        assert answers(served)
        served.run("systemctl", "stop", UNITS[place])
        assert mounted(served, place) == []
    finally:
        user.kill()
        user.communicate()


@both
def test_umount_knows_the_mount_once_however_often_it_was_made(served: Host, place: str) -> None:
    """By its own table in /run, an entry of which stays until umount(8) runs."""
    unit = UNITS[place]

    def entries() -> list[str]:
        table = served.run("cat", "/run/mount/utab").stdout
        return [line for line in table.splitlines() if f" TARGET={place} " in line]

    for _ in range(2):
        served.run("systemctl", "restart", unit)
        assert len(entries()) == 1
    wait_answering(served)
    served.run("umount", place)
    assert entries() == []
    wait_until(lambda: ended(served, unit), f"{unit} has ended")
    served.run("systemctl", "start", unit)
    assert len(entries()) == 1


def test_the_statuses_are_bound_anywhere(served: Host) -> None:
    apply(served, "seen")
    served.run("mkdir", "-p", "/mnt/statuses")
    served.run("mount", "-t", "fuse.tambourine", "-o", "ro", "proc", "/mnt/statuses")
    assert "seen.service" in served.run("cat", "/mnt/statuses/local/seen/status").stdout
    # What covers the one does not cover the other.
    served.run("mount", "-t", "tmpfs", "over", "/mnt/statuses")
    assert [mount.is_tambourine for mount in mounted(served, STATUSES)] == [True]
    assert answers(served)
    served.run("umount", "/mnt/statuses")
    again = served.run("mount", "-t", "fuse.tambourine", "proc", "/mnt/statuses", check=False)
    assert (again.returncode, "already carries the statuses" in again.stderr) == (32, True)
    served.run("umount", "/mnt/statuses")
    served.run("rmdir", "/mnt/statuses")
    assert answers(served)  # the agent's own mount is another
    delete(served, "seen")


@pytest.mark.parametrize(
    ("argv", "status", "said"),
    [
        (["silo", "/mnt"], 32, f"the silo's place is {STORE}"),
        (["other", "/mnt"], 32, '"other" is not a Tambourine mount'),
        (["-o", "ro", "silo", STORE], 32, 'silo: option "ro" cannot be set here'),
        (["-o", "remount,rw", "silo", STORE], 32, 'option "remount" cannot be set here'),
        (["proc", "/mnt/none"], 32, "No such file or directory"),
        (["proc", "/proc/tambourine"], 32, "the kernel module that makes it is not loaded"),
    ],
)
def test_what_cannot_be_mounted_is_said(
    host: Host, argv: list[str], status: int, said: str
) -> None:
    before = pids(host, *DAEMONS)
    done = host.run("mount", "-t", "fuse.tambourine", *argv, check=False)
    assert (done.returncode, said in done.stderr) == (status, True), done.stderr
    assert "hint: " in done.stderr or said.startswith("No such")
    assert pids(host, *DAEMONS) == before


def test_a_foreign_mount_stays(served: Host) -> None:
    served.run("systemctl", "stop", SILO)
    served.run("mount", "-t", "tmpfs", "foreign", STORE)
    try:
        done = served.run("mount", "-t", "fuse.tambourine", "silo", STORE, check=False)
        assert done.returncode == 32
        assert f"{STORE} already carries a tmpfs (foreign)" in done.stderr
        assert ended(served, SILO)
    finally:
        served.run("umount", STORE)


@pytest.fixture
def fstab(served: Host) -> Iterator[None]:
    """The lines of the page stand in the host's /etc/fstab."""
    (lines,) = re.findall(r"^```fstab\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    file = served.root / "etc/fstab"
    before = file.read_text() if file.exists() else ""
    file.write_text(before + lines)
    served.run("systemctl", "daemon-reload")
    yield
    (served.root / "etc/fstab").write_text(before)  # after a boot that is another path
    served.run("systemctl", "daemon-reload")


def test_lines_in_fstab(served: Host, fstab: None) -> None:
    """By hand, all at once, and at boot, where the units of systemd's generator and ours find each other."""
    served.run("mount", "--all")  # they are there: nothing to do
    for place, unit in UNITS.items():
        served.run("umount", place)
        wait_until(lambda unit=unit: ended(served, unit), f"{unit} has ended")  # type: ignore[misc]
        served.run("mount", place)
        assert [mount.is_tambourine for mount in mounted(served, place)] == [True]
    # systemd's own way: its unit of the mount runs mount(8).
    for mount, unit in (
        ("var-lib-tambourine-silo.mount", SILO),
        ("run-tambourine-proc.mount", AGENT),
    ):
        assert prop(served, mount, "SourcePath") == "/etc/fstab"
        served.run("systemctl", "stop", mount)
        wait_until(lambda unit=unit: ended(served, unit), f"{unit} has ended")  # type: ignore[misc]
        served.run("systemctl", "start", mount)
        assert prop(served, unit, "ActiveState") == "active"
    wait_answering(served)
    served.reboot()  # it waits until systemd says "running": no unit failed
    wait_answering(served)
    assert len(mounted(served, STORE)) == len(mounted(served, STATUSES)) == 1


def test_what_the_page_shows_is_what_happens(served: Host) -> None:
    found = steps(PAGE.read_text())
    assert len(found) >= 5

    def run(step: Step) -> str:
        return served.run("sh", "-c", f"exec 2>&1\n{step.command}\n", check=False).stdout

    play(PAGE, found, run)


def test_without_the_module_nothing_fails_and_the_log_says_what_to_do(host: Host) -> None:
    for unit in ("proc-tambourine.mount", "tambourine-module.service"):
        shown = host.run("systemctl", "show", "-p", "ActiveState,ConditionResult,LoadState", unit)
        assert sorted(shown.stdout.split()) == [
            "ActiveState=inactive",
            "ConditionResult=no",
            "LoadState=loaded",
        ]
    assert host.run("systemctl", "is-enabled", "proc-tambourine.mount").stdout == "enabled\n"
    assert host.run("systemctl", "--failed", "--no-legend").stdout == ""
    invocation = prop(host, AGENT, "InvocationID")
    match = f"_SYSTEMD_INVOCATION_ID={invocation}"
    said = host.run("journalctl", "-b", "-o", "cat", match).stdout
    assert said.count("modprobe tambourine") == 1
    assert "tambourine-dkms" in said
