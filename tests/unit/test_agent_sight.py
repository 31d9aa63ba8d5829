"""What the agent looks at and holds: a unit that nobody is about is let go."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import trio

from fakes.agent import SLEEPS
from fakes.systemd import FakeSystemd
from tambourinefs.agent.sight import Sight
from tambourinefs.model.unit import Unit

pytestmark = pytest.mark.trio
KEY, UNIT = ("local", "a"), "a.service"


class Between(FakeSystemd):
    """One in which something happens between a look and its answer."""

    sight: Sight
    looks = 0

    async def units(self, names: Iterable[str], **options: Any) -> dict[str, Unit]:
        found = await super().units(names, **options)
        self.looks += 1
        self.sight.unfollow(KEY)
        await self.sight.release(UNIT)
        return found


async def test_a_unit_that_is_released_while_it_is_looked_at_is_not_held_again(
    tmp_path: Path,
) -> None:
    (tmp_path / UNIT).write_text(SLEEPS)
    systemd = Between(tmp_path)
    systemd.sight = sight = Sight(systemd, lambda _: None, lambda _: None)
    sight.follow(KEY, UNIT)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sight.listen)
        nursery.start_soon(sight.watch)
        await systemd.start(UNIT)
        await trio.testing.wait_all_tasks_blocked(0.01)
        nursery.cancel_scope.cancel()
    assert systemd.looks >= 1
    assert not systemd._units[UNIT].referenced
    assert UNIT not in sight.units
