"""What Bombshell answered survives a power cut. The disk is a loop ext4 that is shut without flushing (loop_disk)."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tambourinefs import errors
from tambourinefs.rpc.client import Client
from tests.functional.bombshells import Running
from tests.functional.loop_disk import LoopDisk

Make = Callable[..., Running]


def start(make_bombshell: Make, disk: LoopDisk) -> Running:
    silo = disk.mount() / "silo"
    silo.mkdir()
    (silo / "there").mkdir()
    os.sync()  # what was there before is not what these tests are about
    return make_bombshell(silo=silo)


def after_power_cut(running: Running, disk: LoopDisk) -> Path:
    disk.cut_power()
    running.kill()
    disk.unmount()
    disk.mount()
    return running.silo


def test_unflushed_data_is_lost(make_bombshell: Make, loop_disk: LoopDisk) -> None:
    """The fault that the others stand happens here."""
    running = start(make_bombshell, loop_disk)
    (running.silo / "there" / "f").write_bytes(b"content")
    assert not (after_power_cut(running, loop_disk) / "there" / "f").exists()


def test_new_file_survives_with_its_content(make_bombshell: Make, loop_disk: LoopDisk) -> None:
    """Fails without the fsync of the file in Upload.commit (it is empty), or without tree.persist (it is not there)."""
    running = start(make_bombshell, loop_disk)
    with running.client() as client:
        client.write("silo", "there/f", b"content" * 1000)
    assert (after_power_cut(running, loop_disk) / "there" / "f").read_bytes() == b"content" * 1000


def test_a_replaced_file_is_the_new_one(make_bombshell: Make, loop_disk: LoopDisk) -> None:
    """Fails without the fsync of the directory in tree.persist: the old one is back."""
    running = start(make_bombshell, loop_disk)
    with running.client() as client:
        client.write("silo", "there/f", b"old" * 1000)
        client.write("silo", "there/f", b"new" * 1000)
    found = after_power_cut(running, loop_disk)
    assert (found / "there" / "f").read_bytes() == b"new" * 1000
    assert [path.name for path in (found / "there").iterdir()] == ["f"]


def test_parents_survive(make_bombshell: Make, loop_disk: LoopDisk) -> None:
    running = start(make_bombshell, loop_disk)
    (running.silo / "by hand").mkdir()  # by a process that did not wait for the disk
    with running.client() as client:
        client.write("silo", "a/b/c/f", b"1", parents=True)
        client.write("silo", "by hand/f", b"2")
    found = after_power_cut(running, loop_disk)
    assert (found / "a/b/c/f").read_bytes() == b"1"
    assert (found / "by hand/f").read_bytes() == b"2"


def test_directory_survives(make_bombshell: Make, loop_disk: LoopDisk) -> None:
    """Fails without tree.persist in MakeDirectory."""
    running = start(make_bombshell, loop_disk)
    with running.client() as client:
        client.make_directory("silo", "there/d/e", parents=True)
    assert (after_power_cut(running, loop_disk) / "there" / "d" / "e").is_dir()


@pytest.mark.parametrize("recursive", [False, True])
def test_removal_survives(make_bombshell: Make, loop_disk: LoopDisk, recursive: bool) -> None:
    """Fails without the fsync of the directory in Remove."""
    running = start(make_bombshell, loop_disk)
    with running.client() as client:
        client.write("silo", "there/d/f", b"1", parents=True)
        client.remove("silo", "there/d" if recursive else "there/d/f", recursive=recursive)
    found = after_power_cut(running, loop_disk)
    assert not (found / "there/d/f").exists()
    assert (found / "there/d").exists() is not recursive


def test_a_cut_amid_many_writers_loses_nothing_that_was_answered(
    make_bombshell: Make, loop_disk: LoopDisk, seed: int
) -> None:
    running = start(make_bombshell, loop_disk)
    answered: dict[str, int] = {}

    def content(name: str, version: int) -> bytes:
        return f"{name}:{version}\n".encode() * random.Random(version).randrange(1, 20000)

    def write(number: int, client: Client) -> None:
        name = f"ns{number % 3}/f{number}"
        for version in range(1000):
            try:
                client.write("silo", name, content(name, version), parents=True)
            except errors.TambourineError:
                return  # the power is gone
            answered[name] = version

    with running.client(timeout=20) as client:
        threads = [threading.Thread(target=write, args=(number, client)) for number in range(8)]
        for thread in threads:
            thread.start()
        threading.Event().wait(random.Random(seed).uniform(0.5, 1.5))
        loop_disk.cut_power()
        for thread in threads:
            thread.join()
    running.kill()
    loop_disk.unmount()
    loop_disk.mount()
    assert len(answered) == 8, f"seed {seed}: cut too early"
    for name, version in answered.items():
        data = (running.silo / name).read_bytes()
        found = int(data.split(b"\n", 1)[0].rpartition(b":")[2])
        assert found in (version, version + 1), (
            f"seed {seed}: {name} is {found}, answered {version}"
        )
        assert data == content(name, found), f"seed {seed}: {name} is torn"
    # The next server clears what this one could not.
    running.start()
    from tests.functional.bombshells import wait_until

    wait_until(lambda: not running.temporaries(), "no temporary file is left")
    running.kill()
