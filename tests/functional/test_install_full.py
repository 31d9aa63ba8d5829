"""The installation on a disk that fills up while it writes: what was there stays, nothing is half there, and it is said."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tambourinefs.errors import HostError
from tambourinefs.install.ledger import Ledger
from tambourinefs.install.place import put
from tambourinefs.install.plan import Changes, Step, carry_out


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "small", place], check=True)
    yield place
    subprocess.run(["umount", place], check=True)


def test_a_disk_that_fills_up_leaves_the_old_file_and_no_half_of_a_new_one(
    small_disk: Path,
) -> None:
    changes = Changes(Ledger(small_disk / "install.json"), image=True)
    changes.ledger.add("/etc/old")
    file = small_disk / "tambourine.service"
    put(file, b"old\n", changes)

    def lay(changes: Changes) -> str:
        return str(put(file, b"new\n" * 50_000, changes))

    with pytest.raises(HostError, match=r"systemd units: .*No space left") as raised:
        carry_out([Step("systemd units", lay)], print, changes)
    assert raised.value.hint.startswith("The disk is full: free space and run this again")
    assert file.read_bytes() == b"old\n"
    assert {path.name for path in small_disk.iterdir()} == {file.name, "install.json"}


def test_a_ledger_that_has_no_room_stays_the_old_one_and_nothing_is_made(small_disk: Path) -> None:
    """A path is written down before it is made: what cannot be written down is not made."""
    changes = Changes(Ledger(small_disk / "install.json"), image=True)
    changes.ledger.add("/etc/old")
    (small_disk / "others").write_bytes(b"x" * (64 * 1024 - 2 * 4096))
    made = small_disk / "made"

    def make(changes: Changes) -> str:
        changes.ledger.add(*(f"/etc/{number:0100}" for number in range(100)))
        return str(put(made, b"", changes))

    with pytest.raises(HostError, match="No space left"):
        carry_out([Step("files", make)], print, changes)
    assert not made.exists()
    assert Ledger(small_disk / "install.json").made == ["/etc/old"]
    assert {path.name for path in small_disk.iterdir()} == {"install.json", "others"}
