"""Lanes side by side, but for tests that measure time: one marked `alone` runs while no test of another lane does."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

KEY = "TAMBOURINE_ROOM"  # a directory that the lanes share; without it a lane is by itself


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


class Lane:
    """The plugin: the lock spans fixtures of any scope, and is taken before any test's time begins."""

    def __init__(self, directory: Path) -> None:
        self._room = Room(directory)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        with self._room.entered(alone=item.get_closest_marker("alone") is not None):
            return (yield)


def register(config: pytest.Config) -> None:
    """Take part, where lanes run side by side."""
    if KEY in os.environ:
        config.pluginmanager.register(Lane(Path(os.environ[KEY])), KEY)
