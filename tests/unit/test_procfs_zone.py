"""The host's time zone is re-read when it changes, and UTC where it cannot be."""

from __future__ import annotations

import os
import zoneinfo
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tambourinefs.procfs.host.reader import LocalZone
from tambourinefs.procfs.render.times import SECOND, timestamp

NOW = 1_795_386_612


@pytest.fixture
def local(tmp_path: Path) -> LocalZone:
    """Reads the file at each call; by default it does so at most once a second."""
    return LocalZone(tmp_path / "localtime", check_seconds=0.0)


def of(name: str) -> Path:
    """The file of that zone, as /etc/localtime points to."""
    for root in zoneinfo.TZPATH:
        if (path := Path(root, name)).exists():
            return path
    pytest.fail(f"no zone {name}: apt-get install tzdata")


def point(path: Path, name: str) -> None:
    """As timedatectl does it: another link, by rename."""
    (path / "new").symlink_to(of(name))
    (path / "new").rename(path / "localtime")


def hours(local: LocalZone) -> float:
    offset = local.zone().utcoffset(datetime.fromtimestamp(NOW, UTC))
    assert offset is not None
    return offset.total_seconds() / 3600


def test_zone_follows_the_file(local: LocalZone, tmp_path: Path) -> None:
    assert local.zone() is UTC  # no file: glibc says UTC too
    for name, offset, word in (
        ("Asia/Kolkata", 5.5, "IST"),
        ("America/St_Johns", -3.5, "NST"),
        ("Etc/UTC", 0, "UTC"),
    ):
        point(tmp_path, name)
        assert hours(local) == offset
        assert timestamp(NOW * SECOND, local.zone()).endswith(f" {word}")


def test_file_rewritten_in_place_is_read_again(local: LocalZone, tmp_path: Path) -> None:
    file = tmp_path / "localtime"
    file.write_bytes(of("Asia/Kolkata").read_bytes())
    os.utime(file, (1, 1))
    assert hours(local) == 5.5
    file.write_bytes(of("Asia/Tokyo").read_bytes())
    assert hours(local) == 9


def test_malformed_zone_is_utc_until_fixed(local: LocalZone, tmp_path: Path) -> None:
    (tmp_path / "localtime").write_text("nonsense")
    assert local.zone() is UTC
    point(tmp_path, "Asia/Tokyo")
    assert hours(local) == 9
    (tmp_path / "localtime").unlink()
    assert local.zone() is UTC


def test_file_is_read_at_most_once_a_second(tmp_path: Path) -> None:
    point(tmp_path, "Asia/Tokyo")
    local = LocalZone(tmp_path / "localtime")
    assert hours(local) == 9
    point(tmp_path, "Asia/Kolkata")
    assert hours(local) == 9
