"""Tests side by side (pytest -n), but for those that measure time: a test marked `alone` runs while no other does."""

from __future__ import annotations

import fcntl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

KEY = "tambourine_room"  # in what a worker is told


class Room:
    """A room for many or for one, by two locks: who wants it alone waits at the door, and keeps others from entering."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    @contextmanager
    def entered(self, *, alone: bool) -> Iterator[None]:
        with (self._directory / "room").open("ab") as room:
            with (self._directory / "door").open("ab") as door:
                fcntl.flock(door, fcntl.LOCK_EX)
                fcntl.flock(room, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
            yield


class SideBySide:
    """The plugin's part in the process that the workers belong to: the room lasts as long as it does."""

    def __init__(self) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="tambourine-room-")

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: object) -> None:
        node.workerinput[KEY] = self._directory.name  # type: ignore[attr-defined]

    def pytest_unconfigure(self) -> None:
        self._directory.cleanup()


class Worker:
    """The plugin's part in a worker."""

    def __init__(self, directory: str) -> None:
        self._room = Room(Path(directory))

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        """The lock spans fixtures of any scope, and is taken before any test's time begins."""
        with self._room.entered(alone=item.get_closest_marker("alone") is not None):
            return (yield)


def register(config: pytest.Config) -> None:
    """Take part, where tests run side by side at all."""
    told = getattr(config, "workerinput", None)
    if told is not None:
        config.pluginmanager.register(Worker(told[KEY]), KEY)
    elif config.getoption("numprocesses", None):
        config.pluginmanager.register(SideBySide(), KEY)


def slow_files_first(items: list[pytest.Item]) -> None:
    """So that no worker begins the longest one when the other is done. The order within a file stays."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)
