"""`tambourine mount` and `unmount`: in PID 1's mount namespace, the descriptor with the manager, nothing left behind."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tambourinefs.errors import HostError
from tambourinefs.mount import mounts
from tests.functional.silo_host import TAMBOURINE

PID1 = Path(__file__).with_name("mount_pid1.py")


@pytest.fixture
def config(disk_directory: Path) -> Path:
    path = disk_directory / "config.toml"
    path.write_text(
        f'[silo]\nstore = "{disk_directory}/store"\nmountpoint = "{disk_directory}/silo"\nwriters = "any"\n'
    )
    return path


def test_the_whole_life_of_a_mount_under_a_manager(config: Path, disk_directory: Path) -> None:
    """Mounted, stored, served, seen from PID 1, crashed, mounted again once, stopped, unmounted."""
    assert shutil.which("unshare"), "unshare is missing: apt-get install util-linux"
    done = subprocess.run(
        [
            *("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"),
            *(sys.executable, str(PID1), str(TAMBOURINE), str(config), f"{disk_directory}/silo"),
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout.splitlines()[-1])
    said = seen.pop("said")
    assert said[0] == ["FDSTOREREMOVE=1", "FDNAME=silo"]
    assert ["FDSTORE=1", "FDNAME=silo"] in said
    assert said[-1] == ["BARRIER=1"]
    assert len(seen.pop("id").strip()) == 36
    assert seen == {
        "mount": 0,
        "mounts here after mount": 1,
        "stored": 1,
        "check": 0,
        "check of a dead one": 1,
        "a dead one keeps it waiting": False,
        "stored after that": 0,
        "mount again": 0,
        "mounts after a crash": 1,
        "stored after a crash": 1,
        "read after a crash": "written from the namespace of PID 1",
        "server's end": 0,
        "mounts after its end": 1,
        "unmount": 0,
        "mounts after unmount": 0,
        "stored after unmount": 0,
        "unmount of nothing": 0,
        "check of nothing": 1,
    }


def test_mount_by_hand_says_that_systemd_runs_it(config: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "NOTIFY_SOCKET"}
    argv = [str(TAMBOURINE), "mount", "silo", "--config", str(config)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30, env=environment)
    assert done.returncode == 1
    assert "$NOTIFY_SOCKET is not set" in done.stderr
    assert "hint: systemd runs this" in done.stderr


def test_an_unknown_name_is_a_usage_error(config: Path) -> None:
    argv = [str(TAMBOURINE), "mount", "other", "--config", str(config)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30)
    assert done.returncode == 2


def test_dead_mount_is_found_and_detached(tmp_path: Path) -> None:
    """Names with spaces too: mountinfo writes them in octal."""
    place = tmp_path / "a name with spaces"
    place.mkdir()
    fd = mounts.mount_fd("tambourine-test", place)
    try:
        there = mounts.find(place)
        assert there is not None
        assert there.is_tambourine
        assert there.source == b"tambourine-test"
        assert mounts.detach(place)
        assert mounts.find(place) is None
        assert not mounts.detach(place)
    finally:
        os.close(fd)


def test_a_dead_mount_is_replaced_and_one_that_hangs_is_not(
    tmp_path: Path, announce: Callable[[str], None]
) -> None:
    announce("detaching the dead mount")
    place = os.fsencode(tmp_path.resolve())  # now: there will be no answer
    first = mounts.mount_fd("tambourine-test", tmp_path)
    try:
        with pytest.raises(HostError, match="is already mounted by Tambourine"):
            mounts.mount_fd("tambourine-test", tmp_path)
    finally:
        os.close(first)
    second = mounts.mount_fd("tambourine-test", tmp_path)
    try:
        table = mounts.parse(Path("/proc/self/mountinfo").read_bytes())
        assert [m.mountpoint for m in table].count(place) == 1
    finally:
        mounts.detach(tmp_path)
        os.close(second)


def test_a_foreign_mount_is_never_detached(tmp_path: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", tmp_path], check=True)
    try:
        assert not mounts.detach(tmp_path)
        assert mounts.find(tmp_path) is not None
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_a_mountpoint_that_is_no_directory(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="No such file or directory"):
        mounts.mount_fd("tambourine-test", tmp_path / "missing")
    assert mounts.find(tmp_path / "missing") is None
