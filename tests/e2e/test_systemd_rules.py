"""The rules that the fake keeps are the real systemd's."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio

from tests.e2e.systemd_world import world_of
from tests.fakes.systemd_rules import RULES, World
from tests.lab.hosts import Host


@pytest.mark.trio
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
async def test_systemd_keeps(rule: Callable[[World], Awaitable[None]], bare_host: Host) -> None:
    async with world_of(bare_host) as world:
        with trio.fail_after(60):
            await rule(world)
