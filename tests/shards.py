"""One lane in several processes: each test file is run by the process that comes to it first, whole and by that one alone.

So the files need no list of who runs what and how long it takes: whoever is free takes the next.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

KEY = "TAMBOURINE_SHARDS"  # a directory that a lane's processes share, empty at first; without it a process runs all


class Shard:
    """The plugin: a test whose file another process has is passed over, and counts in that one's report alone."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._ours: dict[str, bool] = {}

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> bool | None:
        return None if self._is_ours(item.nodeid.partition("::")[0]) else True

    def _is_ours(self, file: str) -> bool:
        if file not in self._ours:
            try:
                (self._directory / file.replace("/", "+")).touch(exist_ok=False)
            except FileExistsError:
                self._ours[file] = False
            else:
                self._ours[file] = True
        return self._ours[file]


def register(config: pytest.Config) -> None:
    """Take a part of the lane, where it has several processes."""
    if KEY in os.environ:
        config.pluginmanager.register(Shard(Path(os.environ[KEY])), KEY)
