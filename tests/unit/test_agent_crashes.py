"""Histories: edits, deletions, crashes at any line and reboots, in any order, end right.

Each generated history is carried out by real agents on a made-up host. An agent dies at the n-th time that it is about to
touch the host (applied state, files, systemd), or just after systemd has answered it. In the end the host is what the silo
says, what was replaced is put back, and no command ran twice.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tambourinefs.agent.reconcile.loop import Reconciler
from tests.fakes.agent import SLEEPS, Host, run_until_killed, tree

# These are about decisions, not about the disk.
TMPFS = "/dev/shm" if os.path.isdir("/dev/shm") else None
NAMES = ("a", "b")
ORIGINALS = {"a": b"was here before\n", "b": None}

specs = st.fixed_dictionaries(
    {
        "command": st.sampled_from([None, "start", "stop", "restart"]),
        "commandID": st.sampled_from(["", "1", "2", "3"]),
        "text": st.sampled_from(
            [
                SLEEPS,
                SLEEPS.replace("1000", "2000"),
                "[Service]\nType=oneshot\nExecStart=/bin/true\n",
            ]
        ),
        "file": st.sampled_from([None, "one", "two"]),
        "drop_in": st.booleans(),
    }
)
edits = st.tuples(st.just("apply"), st.sampled_from(NAMES), specs)
deletes = st.tuples(st.just("delete"), st.sampled_from(NAMES), st.none())
crashes = st.tuples(st.just("crash"), st.integers(0, 30), st.none())
pauses = st.tuples(st.just("settle"), st.none(), st.none())
reboots = st.tuples(st.just("reboot"), st.none(), st.none())
histories = st.lists(
    st.one_of(edits, edits, deletes, crashes, crashes, pauses, reboots), max_size=12
)


def spec_of(name: str, values: dict[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = {"unit": values["text"]}
    if values["command"]:
        spec["command"] = values["command"]
        spec["commandID"] = values["commandID"]
    if values["file"]:
        spec["files"] = [{"path": f"/etc/{name}.d/{name}.conf", "content": values["file"]}]
    if values["drop_in"]:
        spec["dropIns"] = [{"name": "10-x.conf", "content": "[Service]\nNice=1\n"}]
    return spec


class History:
    """A host, what its silo holds, and the commands that were given."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.wanted: dict[str, tuple[int, dict[str, Any]]] = {}
        self.generation = 0
        self.restarts: Counter[str] = (
            Counter()
        )  # restart tokens, content changes and starts that were asked for

    def prepare(self) -> None:
        for name, content in ORIGINALS.items():
            if content is not None:
                directory = self.host.root / f"etc/{name}.d"
                directory.mkdir(parents=True)
                (directory / f"{name}.conf").write_bytes(content)

    async def settled(self, reconciler: Reconciler) -> None:
        await reconciler.started.wait()
        for name, (generation, _spec) in self.wanted.items():
            await self.host.until(
                partial(self._is_settled, name, generation), f"{name} at {generation}"
            )
        await self.host.until(lambda: reconciler.is_durable)
        await self.host.until(lambda: {key[1] for key in self.host.board.views} == set(self.wanted))

    def _is_settled(self, name: str, generation: int) -> bool:
        view = self.host.board.views.get(("local", name))
        if view is None or view.observed_generation != generation:
            return False
        return all(condition.status != "Unknown" for condition in view.conditions)

    async def step(self, kind: str, what: Any, values: Any) -> None:
        if kind == "apply":
            self.generation += 1
            self.wanted[what] = (self.generation, values)
            self.restarts[what] += 1
            self.host.apply(what, spec_of(what, values), generation=self.generation)
        elif kind == "delete" and what in self.wanted:
            del self.wanted[what]
            self.host.delete(what)
        elif kind == "crash":
            self.host.fuse.left = what
            await run_until_killed(self.host, self.settled)
            self.host.fuse.left = -1
        elif kind == "settle":
            await run_until_killed(self.host, self.settled)
        elif kind == "reboot":
            self.restarts = Counter(dict.fromkeys(self.wanted, 1))
            await self.host.reboot()
            self.host.systemd.runs.clear()

    async def check(self) -> None:
        """The host is what the silo says."""
        for name in NAMES:
            unit = f"{name}.service"
            state = await self.host.active(unit)
            wanted = self.wanted.get(name)
            if wanted is None:
                assert not (self.host.units / unit).exists()
                assert state == "inactive"
                continue
            values = wanted[1]
            assert self.host.unit_text(unit) == values["text"]
            file = self.host.root / f"etc/{name}.d/{name}.conf"
            original = ORIGINALS[name]
            if values["file"]:
                assert file.read_text() == values["file"]
            elif original is not None:
                assert file.read_bytes() == original
            else:
                assert not file.exists()
            stays = "oneshot" not in values["text"]
            if values["command"] in {"start", "restart"}:
                assert state == ("active" if stays else "inactive")
            if values["command"] == "stop":
                assert state == "inactive"

    def check_that_nothing_ran_twice(self) -> None:
        ran = Counter(self.host.systemd.runs)
        for unit, count in ran.items():
            assert count <= self.restarts[unit.removesuffix(".service")], (
                unit,
                self.host.systemd.log,
            )


async def _live_through(
    history: list[tuple[str, Any, Any]], check: Callable[[History], None]
) -> None:
    with TemporaryDirectory(dir=TMPFS) as root:
        life = History(Host(Path(root)))
        life.prepare()
        before = tree(life.host.root / "etc")
        for step in history:
            await life.step(*step)
        await run_until_killed(life.host, life.settled)
        await life.check()
        check(life)
        life.host.systemd.log.clear()
        await run_until_killed(life.host, life.settled)  # a new agent finds nothing to do
        assert life.host.systemd.log == []
        for name in list(life.wanted):
            await life.step("delete", name, None)
        await run_until_killed(life.host, life.settled)
        assert tree(life.host.root / "etc") == before
        assert life.host.records() == {}


@settings(deadline=None, suppress_health_check=list(HealthCheck))
@given(histories)
def test_any_history_ends_right_and_leaves_no_trace(history: list[tuple[str, Any, Any]]) -> None:
    trio.run(_live_through, history, History.check_that_nothing_ran_twice)


@pytest.mark.parametrize("touch", range(14))
def test_a_crash_amid_another_edit_does_not_repeat_a_restart_that_was_done(touch: int) -> None:
    """The token is in the manifest still; the start that the new generation asks for takes none."""
    values = {"command": "restart", "commandID": "1", "text": SLEEPS, "file": "", "drop_in": False}
    history = [
        ("apply", "a", values), ("settle", None, None),
        ("apply", "a", values), ("crash", touch, None), ("settle", None, None),
    ]  # fmt: skip

    def check(life: History) -> None:
        assert Counter(life.host.systemd.runs) == {"a.service": 1}, life.host.systemd.log

    trio.run(_live_through, history, check)


@pytest.mark.parametrize("touch", range(14))
def test_a_crash_at_each_line_of_an_install_and_of_a_restart(touch: int) -> None:
    values = {
        "command": "restart",
        "commandID": "1",
        "text": SLEEPS,
        "file": "one",
        "drop_in": True,
    }
    history = [
        ("apply", "a", values), ("crash", touch, None), ("settle", None, None),
        ("apply", "a", values | {"commandID": "2"}), ("crash", touch, None), ("settle", None, None),
        ("delete", "a", None), ("crash", touch, None),
    ]  # fmt: skip
    trio.run(_live_through, history, History.check_that_nothing_ran_twice)


@pytest.mark.parametrize("touch", range(2, 5))
def test_what_we_wrote_before_many_crashes_is_never_taken_for_the_original(touch: int) -> None:
    """The first agent dies after its write, each later one between its record and its write."""
    values = {"command": "start", "commandID": "", "text": SLEEPS, "file": "0", "drop_in": True}
    history: list[tuple[str, Any, Any]] = [("apply", "a", values), ("crash", touch, None)]
    for number in range(1, 8):
        history += [("apply", "a", values | {"file": str(number)}), ("crash", 1, None)]
    trio.run(_live_through, history, History.check_that_nothing_ran_twice)
