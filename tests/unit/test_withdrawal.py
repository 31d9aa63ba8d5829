"""`tambourine agent --withdraw-all` on a made-up host: all that is managed goes, what stood there before comes back."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tambourinefs.agent.apply.apply import Applier
from tambourinefs.agent.host.files import HostFiles
from tambourinefs.agent.state.applied import AppliedState
from tambourinefs.agent.state.store import Store
from tambourinefs.errors import HostError
from tambourinefs.processes.withdrawal import ROUNDS_MAX, Withdrawal
from tests.fakes.agent import SLEEPS, Host, host_in_memory, tree

pytestmark = pytest.mark.trio


@pytest.fixture
def host() -> Iterator[Host]:
    with host_in_memory() as made:
        yield made


async def withdraw_all(host: Host) -> None:
    systemd: Any = host.systemd
    with Store(host.state) as store:
        files = HostFiles(host.root, store)
        try:
            with trio.fail_after(20):
                async with trio.open_nursery() as nursery:
                    applier = Applier(systemd, AppliedState(store, store.load()), files, host.silo)
                    await Withdrawal(systemd, applier, nursery).run()
        finally:
            files.close()


async def test_all_go_and_what_stood_there_comes_back(host: Host) -> None:
    original = host.root / "etc/original"
    original.write_text("original\n")
    before = tree(host.root / "etc")
    spec = {"unit": SLEEPS, "command": "start"}
    async with host.agent():
        host.apply("over", {**spec, "files": [{"path": "/etc/original", "content": "ours\n"}]})
        host.apply("plain", spec)
        await host.until_ready("over", 1)
        await host.until_ready("plain", 1)
    assert original.read_text() == "ours\n"
    await withdraw_all(host)
    assert tree(host.root / "etc") == before
    assert await host.active("over.service") == "inactive"
    assert await host.active("plain.service") == "inactive"
    assert host.records() == {}


async def test_an_orphan_stays_as_its_author_wanted(host: Host) -> None:
    host.apply("stays", {"unit": SLEEPS, "command": "start", "deletionPolicy": "orphan"})
    async with host.agent():
        await host.until_ready("stays", 1)
    before = tree(host.root / "etc")
    await withdraw_all(host)
    assert tree(host.root / "etc") == before
    assert await host.active("stays.service") == "active"
    assert host.records() == {}


async def test_more_services_that_stop_one_by_one_than_there_are_rounds(host: Host) -> None:
    names = [f"s{number}" for number in range(ROUNDS_MAX + 10)]
    before = tree(host.root / "etc")
    for name in names:
        host.apply(name, {"unit": SLEEPS, "command": "start"})
    async with host.agent():
        for name in names:
            await host.until_ready(name, 1)
    for name in names:
        host.systemd.hold(f"{name}.service")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(withdraw_all, host)
        await host.until(lambda: len(host.jobs("stop")) == len(names))
        for name in names:
            await wait_all_tasks_blocked(cushion=0.005)
            host.systemd.release(f"{name}.service")
    assert tree(host.root / "etc") == before
    assert host.records() == {}


async def test_one_that_cannot_be_withdrawn_is_named_and_the_others_go(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("stuck", "goes"):
        host.apply(name, {"unit": SLEEPS, "command": "start"})
    async with host.agent():
        await host.until_ready("stuck", 1)
        await host.until_ready("goes", 1)
    restore = HostFiles.restore

    def refuse(self: HostFiles, path: str, *rest: Any, **more: Any) -> Any:
        if "stuck" in path:
            raise OSError(errno.EROFS, "Read-only file system", path)
        return restore(self, path, *rest, **more)

    monkeypatch.setattr(HostFiles, "restore", refuse)
    with pytest.RaisesGroup(pytest.RaisesExc(HostError, match="1 services could not.*local/stuck")):
        await withdraw_all(host)
    assert set(host.records()) == {("local", "stuck")}
