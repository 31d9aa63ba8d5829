"""Where inotify has come to its limits the agent goes on, and looks from time to time."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from tambourinefs.agent.silo import watch
from tambourinefs.agent.units import directories
from tambourinefs.errors import OutOfSpace
from tambourinefs.treewatch import Change, TreeWatch
from tests.announced import Announced
from tests.waiting import PATIENCE

pytestmark = pytest.mark.trio

TIMES = 3


class Full(TreeWatch):
    """Watches, and finds the limit reached once something appears."""

    def read(self) -> list[Change]:
        raise OutOfSpace("the kernel's limit fs.inotify.max_user_watches is reached")


def refuse(*_: object) -> TreeWatch:
    raise OutOfSpace("the kernel's limit fs.inotify.max_user_watches is reached")


async def test_a_silo_that_cannot_be_watched_is_read_from_time_to_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, announce: Announced
) -> None:
    announce("cannot watch the silo")
    monkeypatch.setattr(watch, "TreeWatch", refuse)
    monkeypatch.setattr(watch, "RETRY", 0.01)
    notified: list[object] = []
    await _until_notified(watch.watch_silo, tmp_path, notified)
    assert set(notified) == {None}


@pytest.mark.parametrize("which", ["silo", "units"])
async def test_a_limit_that_is_reached_later_ends_nothing(
    which: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, announce: Announced
) -> None:
    announce("is not watched any more")
    module = watch if which == "silo" else directories
    monkeypatch.setattr(module, "TreeWatch", Full)
    monkeypatch.setattr(module, "RETRY", 0.01)

    def appear(_: object) -> None:
        (tmp_path / f"{len(notified)}.service").mkdir()

    notified: list[object] = []
    target = (tmp_path,) if which == "units" else tmp_path
    watching = watch.watch_silo if which == "silo" else directories.watch_unit_directories
    await _until_notified(watching, target, notified, appear)
    assert set(notified) == {None}


async def _until_notified(watching, target, notified, then=lambda _: None) -> None:  # type: ignore[no-untyped-def]
    async with trio.open_nursery() as nursery:

        def ring(what: object) -> None:
            notified.append(what)
            if len(notified) == TIMES:
                nursery.cancel_scope.cancel()
            then(what)

        with trio.fail_after(PATIENCE):
            nursery.start_soon(watching, target, ring)
            await trio.sleep_forever()
