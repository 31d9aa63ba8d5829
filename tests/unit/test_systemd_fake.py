"""The fake systemd keeps the real one's rules, so that what is proven on it means something."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tambourinefs.agent.ports import Systemd, SystemdUnavailable
from tests.fakes.systemd import FakeSystemd
from tests.fakes.systemd_rules import RULES, World


class FakeWorld(World):
    def __init__(self, directory: Path) -> None:
        self.fake = FakeSystemd(directory)
        self.systemd: Systemd = self.fake  # mypy: the fake is one
        self._directory = directory

    async def write(self, name: str, text: str) -> None:
        path = self._directory / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)

    async def mask(self, name: str) -> None:
        (self._directory / name).symlink_to("/dev/null")

    async def remove(self, name: str) -> None:
        (self._directory / name).unlink()

    async def kill(self, name: str) -> None:
        self.fake.main_process_ends(name, 1)


@pytest.mark.trio
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
async def test_fake_keeps(rule: Callable[[World], Awaitable[None]], tmp_path: Path) -> None:
    await rule(FakeWorld(tmp_path))


@pytest.mark.trio
async def test_nothing_is_answered_while_the_bus_is_away(tmp_path: Path) -> None:
    fake = FakeSystemd(tmp_path)
    await fake.changes.wait()
    fake.disconnect()
    assert (await fake.changes.wait()).everything
    with pytest.raises(SystemdUnavailable):
        await fake.unit("a.service")
    fake.connect()
    assert (await fake.unit("a.service")).load_state == "not-found"
