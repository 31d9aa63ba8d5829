"""The journal of one invocation, side by side with journalctl; and no wait when journald is frozen."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable

import pytest
import trio

from tambourinefs.agent.journal.lines import HostJournal
from tests.e2e.systemd_world import HostWorld, world_of
from tests.lab.hosts import Host
from tests.waiting import PATIENCE

pytestmark = pytest.mark.trio

SPEAKS = "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'cat /run/l-say'\n"


def journal_of(world: HostWorld, directory: str) -> HostJournal:
    return HostJournal(
        directory=world.host.root / directory.strip("/"), boot_id=world.systemd.boot_id
    )


async def journal_directory(world: HostWorld) -> str:
    """Where this host's journald writes."""
    machine = (await world.run("cat", "/etc/machine-id")).strip()
    find = f"test -d /var/log/journal/{machine} && echo /var/log/journal/{machine} || echo /run/log/journal/{machine}"
    return (await world.run("sh", "-c", find)).strip()


async def say(world: HostWorld, text: str) -> str:
    """Run the unit with this output; its invocation, when journald has written all of it."""
    await trio.to_thread.run_sync(
        lambda: world.host.run("sh", "-c", "cat > /run/l-say", input=text)
    )
    result = await world.systemd.start("l-speak.service")
    assert result.result == "done"
    await world.run("journalctl", "--sync")
    return result.invocation_id


async def test_lines_of_this_invocation_as_journalctl_prints_them(bare_host: Host) -> None:
    async with world_of(bare_host) as world:
        await world.write("l-speak.service", SPEAKS)
        journal = journal_of(world, await journal_directory(world))
        text = "three\n\tindented\n\x1b[1mbold\x1b[0m\nbell\x07\nümlaut\n" + "x" * 3000 + "\n"
        show = ("journalctl", "--quiet", "--no-pager", "--output=short", "--unit=l-speak.service")
        for said in ("one\ntwo\n", text):
            before = (await world.run(*show)).splitlines()
            invocation = await say(world, said)
            lines = await journal.last_lines("l-speak.service", invocation, 100)
            shown = (await world.run(*show)).splitlines()[len(before) :]
            assert list(lines) == [line.rstrip() for line in shown]
        assert any(line.endswith("blob data]") for line in lines)
        assert not any("one" in line for line in lines)
        assert (await journal.last_lines("l-speak.service", invocation, 2)) == lines[-2:]
        assert await journal.last_lines("l-speak.service", invocation, 0) == ()


async def test_a_unit_without_invocation_gives_this_boots_lines(bare_host: Host) -> None:
    async with world_of(bare_host) as world:
        await world.write("l-speak.service", SPEAKS)
        journal = journal_of(world, await journal_directory(world))
        await say(world, "alpha\n")
        await say(world, "omega\n")
        lines = await journal.last_lines("l-speak.service", "", 1000)
        assert [line for line in lines if line.endswith(": alpha")]
        assert [line for line in lines if line.endswith(": omega")]
        assert any("Finished" in line for line in lines)


async def test_a_user_cannot_put_lines_into_the_invocation_of_another_unit(bare_host: Host) -> None:
    async with world_of(bare_host) as world:
        await world.write("l-speak.service", SPEAKS)
        journal = journal_of(world, await journal_directory(world))
        invocation = await say(world, "honest\n")
        forged = f"MESSAGE=forged\nINVOCATION_ID={invocation}\nUNIT=l-speak.service\n"
        await trio.to_thread.run_sync(lambda: world.host.run("logger", "--journald", input=forged))
        await world.run("journalctl", "--sync")
        assert "forged" in await world.run("journalctl", "--quiet", f"INVOCATION_ID={invocation}")
        lines = await journal.last_lines("l-speak.service", invocation, 100)
        assert any(line.endswith(": honest") for line in lines)
        assert not any("forged" in line for line in lines)


async def test_messages_and_counts_are_bounded(bare_host: Host) -> None:
    async with world_of(bare_host) as world:
        await world.write("l-speak.service", SPEAKS)
        journal = journal_of(world, await journal_directory(world))
        invocation = await say(world, "ä" * 20000 + "\nlast\n")
        lines = await journal.last_lines("l-speak.service", invocation, 10**9)
        assert max(len(line.encode()) for line in lines) < 4300
        assert any(line.endswith("ä…") for line in lines)


async def test_a_frozen_journald_delays_no_reader(bare_host: Host) -> None:
    async with world_of(bare_host) as world:
        await world.write("l-speak.service", SPEAKS)
        journal = journal_of(world, await journal_directory(world))
        invocation = await say(world, "before the frost\n")
        journald = await world.systemd.unit("systemd-journald.service")
        await world.run("kill", f"-{signal.SIGSTOP.value}", str(journald.main_pid))
        try:
            state = await world.run("sh", "-c", f"cut -d' ' -f3 /proc/{journald.main_pid}/stat")
            assert state.strip() == "T"
            began = time.monotonic()
            lines = await journal.last_lines("l-speak.service", invocation, 10)
            assert time.monotonic() - began < PATIENCE / 2
            assert any(line.endswith("before the frost") for line in lines)
        finally:
            await world.run("kill", f"-{signal.SIGCONT.value}", str(journald.main_pid))


async def test_no_journal_is_no_lines(bare_host: Host, announce: Callable[[str], None]) -> None:
    announce("journal of a.service: .*No such file")
    journal = HostJournal(directory=bare_host.root / "nonexistent", boot_id="0" * 32)
    with trio.fail_after(PATIENCE):
        assert await journal.last_lines("a.service", "0" * 32, 10) == ()
