"""The agent whose applied state is on a full or read-only disk: nothing is done that cannot be recorded."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.announced import Announced
from tests.fakes.agent import SLEEPS, Host
from tests.functional.loop_disk import LoopDisk

pytestmark = pytest.mark.trio


@pytest.fixture
def host(tmp_path: Path, loop_disk: LoopDisk) -> Host:
    """Its state is on a disk of its own."""
    made = Host(tmp_path)
    made.state = loop_disk.mount() / "state"
    return made


@contextlib.contextmanager
def full(disk: LoopDisk) -> Iterator[str]:
    with (disk.place / "fill").open("wb", buffering=0) as fill:
        for size in (1 << 20, 1 << 10):  # the last blocks too
            with contextlib.suppress(OSError):
                while True:
                    fill.write(b"x" * size)
        with pytest.raises(OSError, match="No space"):
            fill.write(b"x" * 4096)
    yield "No space left on device"
    (disk.place / "fill").unlink()


@contextlib.contextmanager
def read_only(disk: LoopDisk) -> Iterator[str]:
    disk.remount("ro")
    yield "Read-only file system"
    disk.remount("rw")


@pytest.mark.parametrize("trouble", [full, read_only])
async def test_without_room_for_applied_state_nothing_is_done_and_then_all_once(
    host: Host, loop_disk: LoopDisk, announce: Announced, trouble: object
) -> None:
    assert callable(trouble)
    announce("applied state cannot be written")
    host.apply("old", {"unit": SLEEPS, "command": "start"})
    host.apply("kept", {"unit": SLEEPS, "command": "start"})
    async with host.agent() as reconciler:
        await host.until_ready("old", 1)
        await host.until_ready("kept", 1)
        await host.until(lambda: reconciler.is_durable)
        with trouble(loop_disk) as why:
            host.systemd.log.clear()
            host.apply("new", {"unit": SLEEPS, "command": "start"})
            host.apply(
                "old", {"unit": SLEEPS, "command": "restart", "commandID": "1"}, generation=2
            )

            def failed(name: str) -> bool:
                there = ("local", name) in host.board.views
                return there and host.condition(name, "Applied")[1] == "ApplyFailed"

            for name in ("new", "old"):
                await host.until(partial(failed, name))
                said = host.view(name).conditions[1].message
                assert said == f"applied state cannot be written: {why}"
            assert host.condition("kept", "Ready") == ("True", "Ready")
            assert not (host.units / "new.service").exists()
            assert host.systemd.log == []
        await host.until_ready("new", 1)
        await host.until_ready("old", 2)
    assert sorted(host.jobs("start", "restart", "stop")) == [
        ("restart", "old.service"),
        ("start", "new.service"),
    ]
    assert sorted(os.listdir(host.state / "services")) == [
        "local_kept.json",
        "local_new.json",
        "local_old.json",
    ]
