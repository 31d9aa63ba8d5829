"""The agent's loop on a made-up host: what people write into the silo becomes so; what they take back leaves no trace."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from uuid import uuid4

import pytest
import trio

from tambourinefs import files
from tambourinefs.agent.admission.policy import Policy
from tambourinefs.agent.host.files import ORIGINAL_MAX
from tambourinefs.agent.ports import SystemdRefused
from tambourinefs.agent.reconcile import retry
from tambourinefs.agent.state.store import Store, accept_silo
from tambourinefs.errors import InvalidInput
from tambourinefs.model.unit import Unit
from tests.announced import Announced
from tests.fakes.agent import SLEEPS, Host, host_in_memory, tree

pytestmark = pytest.mark.trio


@pytest.fixture
def host() -> Iterator[Host]:
    with host_in_memory() as made:
        yield made


@pytest.fixture
def soon_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """What failed is tried again after a tenth of the time."""
    monkeypatch.setattr(retry, "FIRST", 0.2)


async def test_a_service_is_installed_started_and_enabled(host: Host) -> None:
    host.apply("hello", {"unit": SLEEPS, "command": "start"})
    async with host.agent():
        view = await host.until_ready("hello", 1)
    assert host.unit_text("hello.service") == SLEEPS
    assert await host.active("hello.service") == "active"
    assert await host.systemd.unit_file_state("hello.service") == "enabled"
    assert host.jobs("start", "restart", "reload") == [("start", "hello.service")]
    assert view.managed
    assert view.unit_name == "hello.service"


async def test_removing_it_leaves_the_host_as_it_was(host: Host) -> None:
    before = tree(host.root / "etc")
    spec = {
        "unit": SLEEPS,
        "command": "start",
        "dropIns": [{"name": "10-a.conf", "content": "[Service]\nNice=1\n"}],
        "files": [{"path": "/etc/deep/er/x.conf", "content": "x", "mode": "0600"}],
    }
    host.apply("hello", spec)
    async with host.agent():
        await host.until_ready("hello", 1)
        assert (host.root / "etc/deep/er/x.conf").stat().st_mode & 0o7777 == 0o600
        host.delete("hello")
        await host.until(lambda: not host.board.views)
    assert tree(host.root / "etc") == before
    assert await host.active("hello.service") == "inactive"
    assert host.records() == {}


async def test_an_edit_restarts_once_and_reloads_once(host: Host) -> None:
    host.apply("hello", {"unit": SLEEPS, "command": "start"})
    async with host.agent():
        first = (await host.until_ready("hello", 1)).unit
        host.systemd.log.clear()
        host.apply(
            "hello", {"unit": SLEEPS.replace("1000", "2000"), "command": "start"}, generation=2
        )
        second = (await host.until_ready("hello", 2)).unit
    assert host.jobs("start", "restart", "reload", "stop") == [
        ("reload", ""),
        ("restart", "hello.service"),
    ]
    assert first
    assert second
    assert first.invocation_id != second.invocation_id


@pytest.mark.parametrize("command", ["start", None])
async def test_an_edited_install_section_moves_the_links(host: Host, command: str | None) -> None:
    timers = SLEEPS.replace("multi-user", "timers")
    host.apply("hello", {"unit": SLEEPS, "command": "start"})
    async with host.agent():
        await host.until_ready("hello", 1)
        host.apply("hello", {"unit": timers, "command": command}, generation=2)
        await host.until_ready("hello", 2)
        links = [str(path.relative_to(host.units)) for path in host.units.glob("*.wants/*")]
        assert links == ["timers.target.wants/hello.service"]
        host.systemd.log.clear()
        host.apply("hello", {"unit": timers + "#\n", "command": command}, generation=3)
        await host.until_ready("hello", 3)
        assert host.jobs("enable", "disable") == []  # once for each edit of [Install]
        host.apply("hello", {"unit": SLEEPS.partition("[Install]")[0]}, generation=4)
        await host.until_ready("hello", 4)
        assert list(host.units.glob("*.wants")) == []


def _file_state(host: Host, name: str) -> str:
    unit = host.view(name).unit
    return unit.unit_file_state if unit else ""


async def test_what_a_person_disabled_stays_so_when_install_is_edited(host: Host) -> None:
    host.apply("hello", {"unit": SLEEPS, "command": "start"})
    async with host.agent():
        await host.until_ready("hello", 1)
        await host.systemd.disable(["hello.service"])
        await host.until(lambda: _file_state(host, "hello") == "disabled")
        host.apply("hello", {"unit": SLEEPS.replace("multi-user", "timers")}, generation=2)
        await host.until_ready("hello", 2)
        assert list(host.units.glob("*.wants")) == []


async def test_a_bad_unit_is_refused_and_the_running_one_stays(host: Host) -> None:
    host.apply("hello", {"unit": SLEEPS, "command": "start"})
    host.apply("other", {"unit": SLEEPS, "command": "start"})
    async with host.agent():
        await host.until_ready("hello", 1)
        host.apply(
            "hello", {"unit": "[Service]\nExecStrt=/bin/x\n", "command": "start"}, generation=2
        )
        await host.until_ready("hello", 2, "False")
        assert host.condition("hello", "Accepted") == ("False", "VerifyFailed")
        assert host.message("hello", "Accepted").startswith("spec.unit: hello.service:")
        assert host.condition("hello", "Applied") == ("False", "NotAccepted")
        host.apply("other", {"unit": SLEEPS, "command": "restart"}, generation=2)
        await host.until_ready("other", 2)
    assert host.unit_text("hello.service") == SLEEPS
    assert await host.active("hello.service") == "active"


async def test_each_restart_token_runs_once_and_content_with_it_once(host: Host) -> None:
    spec = {"unit": SLEEPS, "command": "restart", "commandID": "a"}
    host.apply("hello", spec)
    async with host.agent():
        await host.until_ready("hello", 1)
        assert len(host.systemd.runs) == 1  # first observation: the start is the restart
        host.apply("hello", {**spec, "commandID": "b"}, generation=2)
        await host.until_ready("hello", 2)
        assert len(host.systemd.runs) == 2
        host.apply("hello", {**spec, "commandID": "a"}, generation=3)  # seen before
        await host.until_ready("hello", 3)
        assert len(host.systemd.runs) == 2
        host.apply(
            "hello", {"unit": SLEEPS + "#\n", "command": "restart", "commandID": "c"}, generation=4
        )
        view = await host.until_ready("hello", 4)
    assert len(host.systemd.runs) == 3
    assert view.last_command
    assert (view.last_command.command_id, view.last_command.result) == (
        "c",
        "done",
    )


async def test_another_object_of_that_name_has_no_command_of_the_one_before(host: Host) -> None:
    spec = {"unit": SLEEPS, "command": "restart", "commandID": "a"}
    host.apply("hello", spec)
    async with host.agent():
        before = await host.until_ready("hello", 1)
        assert before.last_command
        host.apply("hello", {"unit": SLEEPS}, uid="another")
        await host.until(lambda: host.view("hello").uid == "another")
        view = await host.until_ready("hello", 1)
        assert view.last_command is None
        assert len(host.systemd.runs) == 1  # the unit is the same, and runs on
        host.apply(
            "hello",
            {"unit": SLEEPS, "command": "restart", "commandID": "a"},
            generation=2,
            uid="another",
        )
        view = await host.until_ready("hello", 2)
    assert view.last_command
    assert view.last_command.command_id == "a"
    assert len(host.systemd.runs) == 2  # the token is the other's: this one has not run


async def test_a_command_that_ends_after_its_object_is_not_the_next_ones(host: Host) -> None:
    host.apply("hello", {"unit": SLEEPS, "command": "start"})
    async with host.agent():
        await host.until_ready("hello", 1)
        host.systemd.hold("hello.service")
        host.apply("hello", {"unit": SLEEPS, "command": "restart", "commandID": "a"}, generation=2)
        await host.until(lambda: ("restart", "hello.service") in host.systemd.log)
        host.apply("hello", {"unit": SLEEPS}, uid="another")
        await host.until(lambda: host.view("hello").uid == "another")
        host.systemd.release("hello.service")
        view = await host.until_ready("hello", 1)
    assert view.last_command is None


async def test_a_persons_stop_is_reported_and_not_undone(host: Host) -> None:
    host.apply("hello", {"unit": SLEEPS, "command": "start"})
    async with host.agent():
        await host.until_ready("hello", 1)
        await host.systemd.stop("hello.service")
        await host.until_ready("hello", 1, "False")
        assert host.condition("hello", "Ready") == ("False", "Drifted")
    async with host.agent():  # nor by a restarted agent
        await host.until_ready("hello", 1, "False")
        assert host.condition("hello", "Ready") == ("False", "Drifted")
        host.apply("hello", {"unit": SLEEPS, "command": "start"}, generation=2)
        await host.until_ready("hello", 2)


async def test_a_slow_start_holds_up_nobody_and_a_stop_ends_it(host: Host) -> None:
    host.systemd.hold("slow.service")
    host.apply("slow", {"unit": SLEEPS, "command": "start"})
    async with host.agent():
        await host.until(lambda: ("start", "slow.service") in host.systemd.log)
        host.apply("quick", {"unit": SLEEPS, "command": "start"})
        await host.until_ready("quick", 1)
        assert host.condition("slow", "Ready") == ("Unknown", "Starting")
        host.systemd.release("slow.service")
        await host.until_ready("slow", 1)
        host.systemd.hold("slow.service")
        host.apply("slow", {"unit": SLEEPS, "command": "restart", "commandID": "x"}, generation=2)
        await host.until(lambda: ("restart", "slow.service") in host.systemd.log)
        host.apply("slow", {"unit": SLEEPS, "command": "restart", "commandID": "y"}, generation=3)
        host.apply("slow", {"unit": SLEEPS, "command": "restart", "commandID": "z"}, generation=4)
        await host.until(lambda: host.view("slow").observed_generation == 4)
        assert host.jobs("restart") == [("restart", "slow.service")]  # waits for the one that runs
        host.systemd.release("slow.service")
        view = await host.until_ready("slow", 4)
    assert host.jobs("restart") == [("restart", "slow.service")] * 2
    assert view.last_command
    assert view.last_command.command_id == "z"


async def test_a_unit_of_somebody_elses_is_not_overwritten(host: Host) -> None:
    (host.units / "theirs.service").write_text(SLEEPS)
    host.apply("theirs", {"unit": SLEEPS + "# mine\n", "command": "start"})
    async with host.agent():
        await host.until_ready("theirs", 1, "False")
        assert host.condition("theirs", "Accepted") == ("False", "ForeignUnit")
    assert (host.units / "theirs.service").read_text() == SLEEPS
    assert host.jobs("start") == []


async def test_a_drop_in_on_a_foreign_unit_comes_and_goes_and_the_unit_runs_on(host: Host) -> None:
    (host.units / "theirs.service").write_text(SLEEPS)
    directory = host.units / "theirs.service.d"
    directory.mkdir()
    (directory / "50-theirs.conf").write_text("[Unit]\nDescription=x\n")
    await host.systemd.start("theirs.service")
    before = (await host.systemd.unit("theirs.service")).invocation_id
    host.apply("theirs", {"dropIns": [{"name": "10-ours.conf", "content": "[Service]\nNice=5\n"}]})
    async with host.agent():
        await host.until_ready("theirs", 1)
        assert (directory / "10-ours.conf").exists()
        host.delete("theirs")
        await host.until(lambda: not host.board.views)
    assert [path.name for path in directory.iterdir()] == ["50-theirs.conf"]
    unit = await host.systemd.unit("theirs.service")
    assert (unit.active_state, unit.invocation_id) == ("active", before)
    assert host.jobs("stop", "restart", "disable") == []


async def test_original_files_are_put_back_exactly(host: Host) -> None:
    target = host.root / "etc/motd"
    target.write_bytes(b"welcome\n")
    target.chmod(0o640)
    link = host.root / "etc/localtime"
    link.symlink_to("/usr/share/zoneinfo/UTC")
    before = tree(host.root / "etc")
    files = [{"path": "/etc/motd", "content": "new"}, {"path": "/etc/localtime", "content": "zone"}]
    host.apply("x", {"files": files})
    async with host.agent():
        await host.until_ready("x", 1, "False")  # there is no unit x.service
        assert target.read_text() == "new"
        host.apply("x", {"files": files[:1]}, generation=2)
        await host.until(lambda: host.view("x").observed_generation == 2 and link.is_symlink())
        host.delete("x")
        await host.until(lambda: not host.board.views)
    assert tree(host.root / "etc") == before


@pytest.mark.parametrize("first", ["a", "b"])
async def test_one_name_has_one_owner_whatever_the_order(host: Host, first: str) -> None:
    second = "b" if first == "a" else "a"
    text = {"name": "shared", "unit": SLEEPS, "command": "start"}
    host.apply(first, text)
    async with host.agent():
        await host.until_ready(first, 1)
        host.apply(second, text)
        await host.until_ready(second, 1, "False")
        assert host.condition(second, "Accepted") == ("False", "NameConflict")
        said = host.message(second, "Accepted")
        assert said == f"spec.name: unit shared.service belongs to local/{first} on this host"
    async with host.agent():  # after a restart too
        await host.until_ready(first, 1)
        await host.until_ready(second, 1, "False")
        host.delete(first)
        await host.until_ready(second, 1)  # the name is free now


async def test_the_older_wins_among_newcomers(host: Host) -> None:
    text = {"name": "shared", "unit": SLEEPS, "command": "start"}
    host.rules = host.rules.__class__(namespaces=("local", "storage"))
    host.apply("young", text, created="2026-02-01T00:00:00Z")
    host.apply("old", text, created="2026-01-01T00:00:00Z")
    host.apply("oldest", text, created="2025-01-01T00:00:00Z", namespace="storage")
    async with host.agent():
        await host.until_ready("old", 1)
        await host.until_ready("young", 1, "False")
        assert host.condition("oldest", "Accepted", "storage") == ("False", "NameConflict")


async def test_a_silo_that_is_gone_or_another_removes_nothing(
    host: Host, announce: Announced
) -> None:
    announce(r"silo .* (No such file or directory|is another one)")
    host.apply("hello", {"unit": SLEEPS, "command": "start"})
    async with host.agent():
        await host.until_ready("hello", 1)
    away = host.root / "away"
    host.silo.rename(away)
    host.silo.mkdir()  # a dead mount, detached: an empty directory
    async with host.agent() as reconciler:
        await reconciler.started.wait()
        assert host.condition("hello", "Applied") == ("Unknown", "SiloUnavailable")
        (host.silo / ".tambourine-silo").write_text("another")
        reconciler.manifests.refresh(None)
        await host.until(lambda: "another" in host.view("hello").conditions[1].message)
        assert host.view("hello").conditions[1].message.endswith("--accept-silo another")
    assert await host.active("hello.service") == "active"
    assert host.unit_text("hello.service") == SLEEPS


async def test_another_silo_is_accepted_while_the_agent_runs(
    host: Host, announce: Announced
) -> None:
    announce("silo .* is another one")
    host.apply("hello", {"unit": SLEEPS, "command": "start"})
    async with host.agent() as reconciler:
        await host.until_ready("hello", 1)
        (host.silo / ".tambourine-silo").write_text(another := str(uuid4()))
        reconciler.manifests.refresh(None)
        await host.until(lambda: host.condition("hello", "Applied")[0] == "Unknown")
        with pytest.raises(InvalidInput, match="not a UUID"):
            accept_silo(host.state, "anything")
        accept_silo(host.state, another.upper())  # beside the agent, which has the lock
        reconciler.manifests.refresh(None)  # as the retry does
        await host.until(lambda: host.condition("hello", "Applied")[0] == "True")
    assert host.jobs("start", "stop", "restart") == [("start", "hello.service")]


async def test_the_first_silo_is_obeyed_once_the_disk_takes_its_name(
    host: Host, announce: Announced, monkeypatch: pytest.MonkeyPatch
) -> None:
    announce("cannot be accepted: No space left on device")
    accept = Store.accept_silo
    refused: list[str] = []

    def full_at_first(store: Store, uuid: str) -> None:
        if not refused:
            refused.append(uuid)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        accept(store, uuid)

    monkeypatch.setattr(Store, "accept_silo", full_at_first)
    host.apply("hello", {"unit": SLEEPS, "command": "start"})
    async with host.agent() as reconciler:
        await host.until(lambda: bool(refused))
        reconciler.manifests.refresh(None)  # as the retry does
        await host.until_ready("hello", 1)
    with Store(host.state) as store:
        assert store.silo() == (host.silo / ".tambourine-silo").read_text()


async def test_a_manifest_that_cannot_be_read_holds_up_only_itself(
    host: Host, announce: Announced, monkeypatch: pytest.MonkeyPatch
) -> None:
    announce("local/(bad|new)/tambourine.json cannot be read: Input/output error")
    opens, broken = files.open_beneath, ["local/bad/", "local/new/"]

    def open_beneath(root: int, path: str | bytes, flags: int, mode: int = 0) -> int:
        if os.fsdecode(path).startswith(tuple(broken)) and not flags & os.O_DIRECTORY:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return opens(root, path, flags, mode)

    host.apply("bad", {"unit": SLEEPS, "command": "start"})
    async with host.agent():
        await host.until_ready("bad", 1)
    monkeypatch.setattr(files, "open_beneath", open_beneath)
    host.apply("new", {"unit": SLEEPS, "command": "start"})
    host.apply("good", {"unit": SLEEPS, "command": "start"})

    def is_unknown(name: str) -> bool:
        return host.condition(name, "Accepted")[0] == "Unknown"

    async with host.agent() as reconciler:
        await host.until_ready("good", 1)
        for name in ("bad", "new"):
            await host.until(partial(is_unknown, name))
            assert host.condition(name, "Accepted") == ("Unknown", "SiloUnavailable")
            assert host.condition(name, "Applied") == ("Unknown", "SiloUnavailable")
        assert host.view("bad").uid == "uid-bad"
        assert await host.active("bad.service") == "active"
        broken.clear()
        reconciler.manifests.refresh({("local", "bad"), ("local", "new")})  # as the retry does
        await host.until_ready("bad", 1)
        await host.until_ready("new", 1)
        broken.append("local/bad/")
        host.apply("bad", {"unit": SLEEPS, "command": "stop"}, generation=2)
        await host.until(lambda: host.condition("bad", "Applied")[0] == "Unknown")
        host.delete("bad")  # and that is seen all the same
        broken.clear()
        await host.until(lambda: ("local", "bad") not in host.board.views)
        assert await host.active("good.service") == "active"


async def test_a_dead_mount_amid_a_scan_is_the_whole_silos(
    host: Host, announce: Announced, monkeypatch: pytest.MonkeyPatch
) -> None:
    announce("silo .*: Transport endpoint is not connected")
    opens = files.open_beneath

    def dead(root: int, path: str | bytes, flags: int, mode: int = 0) -> int:
        if os.fsdecode(path).startswith("local/hello/"):
            raise OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN))
        return opens(root, path, flags, mode)

    host.apply("hello", {"unit": SLEEPS, "command": "start"})
    host.apply("other", {"unit": SLEEPS, "command": "start"})
    async with host.agent():
        await host.until_ready("hello", 1)
        await host.until_ready("other", 1)
    monkeypatch.setattr(files, "open_beneath", dead)
    async with host.agent() as reconciler:
        await reconciler.started.wait()
        await host.until(lambda: "endpoint" in host.view("other").conditions[1].message)
        assert host.condition("other", "Applied") == ("Unknown", "SiloUnavailable")
    assert await host.active("hello.service") == "active"


async def test_nothing_is_done_in_a_namespace_that_is_not_respected_any_more(host: Host) -> None:
    host.rules = host.rules.__class__(namespaces=("storage",))
    host.apply("x", {"unit": SLEEPS, "command": "start"}, namespace="storage")
    async with host.agent():
        await host.until(
            lambda: (
                ("storage", "x") in host.board.views
                and host.condition("x", "Ready", "storage")[0] == "True"
            )
        )
    host.rules = host.rules.__class__(namespaces=("local",))
    host.delete("x", "storage")
    async with host.agent() as reconciler:
        await reconciler.started.wait()
        assert host.condition("x", "Accepted", "storage") == ("False", "NamespaceNotAllowed")
    assert await host.active("x.service") == "active"


async def test_systemd_goes_and_comes_back(host: Host) -> None:
    host.apply("hello", {"unit": SLEEPS, "command": "start"})
    async with host.agent():
        await host.until_ready("hello", 1)
        host.systemd.disconnect()
        await host.until(
            lambda: host.condition("hello", "Ready") == ("Unknown", "SystemdUnavailable")
        )
        assert host.view("hello").unit is not None  # the last view is kept
        host.apply("hello", {"unit": SLEEPS + "#\n", "command": "start"}, generation=2)
        host.apply("more", {"unit": SLEEPS, "command": "start"})
        await trio.lowlevel.checkpoint()
        host.systemd.connect()
        await host.until_ready("hello", 2)
        await host.until_ready("more", 1)


async def test_after_a_reboot_nothing_that_is_enabled_runs_twice(host: Host) -> None:
    once = "[Service]\nType=oneshot\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\n"
    host.apply("once", {"unit": once, "command": "start"})
    host.apply("off", {"unit": SLEEPS, "command": "start", "enabled": False})
    async with host.agent():
        await host.until_ready("once", 1)
        await host.until_ready("off", 1)
    await host.reboot()
    async with host.agent():
        await host.until_ready("off", 1)  # the agent starts it: nothing else did
        await host.until_ready("once", 1)
    assert host.jobs("start", "restart") == [("start", "off.service")]


async def test_orphan_leaves_everything_and_forgets(host: Host) -> None:
    host.apply("hello", {"unit": SLEEPS, "command": "start", "deletionPolicy": "orphan"})
    async with host.agent():
        await host.until_ready("hello", 1)
        host.delete("hello")
        await host.until(lambda: not host.board.views)
    assert await host.active("hello.service") == "active"
    assert host.unit_text("hello.service") == SLEEPS
    assert host.records() == {}


async def test_absent_removes_and_stays_listed(host: Host) -> None:
    host.apply("hello", {"unit": SLEEPS, "command": "start"})
    async with host.agent():
        await host.until_ready("hello", 1)
        host.apply("hello", {"state": "absent"}, generation=2)
        await host.until_ready("hello", 2)
        assert not (host.units / "hello.service").exists()
        host.apply("hello", {"unit": SLEEPS, "command": "start"}, generation=3)
        await host.until_ready("hello", 3)
    assert await host.active("hello.service") == "active"


async def test_wanted_again_while_it_is_being_removed(host: Host) -> None:
    host.apply("hello", {"unit": SLEEPS, "command": "start"})
    async with host.agent():
        await host.until_ready("hello", 1)
        host.systemd.hold("hello.service")
        host.delete("hello")
        await host.until(lambda: ("stop", "hello.service") in host.systemd.log)
        host.apply("hello", {"unit": SLEEPS, "command": "start"}, uid="another")
        host.systemd.release("hello.service")
        # The one that goes is Ready still, and then nothing is there for a moment.
        await host.until(lambda: any(it.uid == "another" for it in host.board.views.values()))
        view = await host.until_ready("hello", 1)
    assert await host.active("hello.service") == "active"
    assert view.managed


async def test_payload_is_waited_for(host: Host) -> None:
    import hashlib

    digest = hashlib.sha256(b"data").hexdigest()
    files = [{"path": "/etc/p", "contentFrom": {"silo": "p.bin", "sha256": digest}}]
    host.apply("p", {"unit": SLEEPS, "files": files, "command": "start"})
    async with host.agent():
        await host.until(
            lambda: (
                bool(host.board.views)
                and host.condition("p", "Accepted") == ("Unknown", "PayloadMissing")
            )
        )
        assert not (host.units / "p.service").exists()
        host.put("p", b"wrong", file="p.bin")
        await host.until(lambda: "has sha256" in host.view("p").conditions[0].message)
        host.put("p", b"data", file="p.bin")
        await host.until_ready("p", 1)
    assert (host.root / "etc/p").read_bytes() == b"data"


@pytest.mark.usefixtures("soon_again")
async def test_a_file_that_cannot_be_laid_down_is_said_and_got_over(host: Host) -> None:
    (host.root / "opt").write_text("in the way")  # no directory: nothing can be written below it
    host.apply(
        "x", {"unit": SLEEPS, "files": [{"path": "/opt/x", "content": "x"}], "command": "start"}
    )
    host.apply("y", {"unit": SLEEPS, "command": "start"})
    async with host.agent():
        await host.until_ready("y", 1)
        await host.until(lambda: host.condition("x", "Applied") == ("False", "ApplyFailed"))
        (host.root / "opt").unlink()
        await host.until_ready("x", 1)


async def test_a_file_that_a_person_made_another_stays_when_the_service_goes(
    host: Host, announce: Announced
) -> None:
    announce("was changed on the host: it is kept")
    ours, theirs = host.root / "etc/ours", host.root / "etc/theirs"
    files = [{"path": f"/etc/{name}", "content": "x"} for name in ("ours", "theirs", "link")]
    host.apply("x", {"unit": SLEEPS, "files": files})
    async with host.agent():
        await host.until_ready("x", 1)
        theirs.write_text("edited")
        (host.root / "etc/link").unlink()
        (host.root / "etc/link").symlink_to("theirs")
        host.delete("x")
        await host.until(lambda: not host.board.views)
    assert not ours.exists()
    assert theirs.read_text() == "edited"
    assert (host.root / "etc/link").is_symlink()


async def test_a_unit_and_a_drop_in_that_a_person_edited_stay_stopped_and_disabled(
    host: Host, announce: Announced
) -> None:
    announce("was changed on the host: it is kept")
    drop_ins = [{"name": f"{name}.conf", "content": "[Service]\nNice=1\n"} for name in ("a", "b")]
    host.apply("x", {"unit": SLEEPS, "command": "start", "dropIns": drop_ins})
    unit, directory = host.units / "x.service", host.units / "x.service.d"
    async with host.agent():
        await host.until_ready("x", 1)
        unit.write_text(SLEEPS + "# mine\n")
        (directory / "a.conf").write_text("[Service]\nNice=2\n")
        host.delete("x")
        await host.until(lambda: not host.board.views)
    assert unit.read_text() == SLEEPS + "# mine\n"
    assert [path.name for path in directory.iterdir()] == ["a.conf"]
    assert await host.active("x.service") == "inactive"
    assert await host.systemd.unit_file_state("x.service") == "disabled"
    assert host.records() == {}


async def test_an_original_too_large_to_keep_is_not_replaced(host: Host) -> None:
    target = host.root / "etc/image"
    with target.open("wb") as image:
        image.truncate(ORIGINAL_MAX + 1)
    host.apply("x", {"unit": SLEEPS, "files": [{"path": "/etc/image", "content": "x"}]})
    async with host.agent():
        await host.until(lambda: ("local", "x") in host.board.views)
        await host.until(lambda: host.condition("x", "Applied") == ("False", "ApplyFailed"))
    assert target.stat().st_size == ORIGINAL_MAX + 1
    assert list((host.state / "originals").iterdir()) == []


@pytest.mark.parametrize("ours", [True, False])
async def test_a_later_alias_does_not_take_a_foreign_units_name(host: Host, ours: bool) -> None:
    (host.units / "theirs.service").write_text(SLEEPS)
    (host.units / "x.service").write_text(SLEEPS)
    alias = "[Install]\nAlias=theirs.service\n"
    if ours:
        (host.units / "x.service").unlink()
        host.apply("x", {"unit": SLEEPS})
    async with host.agent():
        if ours:
            await host.until_ready("x", 1)
            host.apply("x", {"unit": SLEEPS + alias, "enabled": True}, generation=2)
        else:
            drop_ins = [{"name": "a.conf", "content": alias}]
            host.apply("x", {"dropIns": drop_ins, "enabled": True}, generation=2)
        await host.until(lambda: ("local", "x") in host.board.views)
        await host.until(lambda: host.condition("x", "Accepted") == ("False", "ForeignUnit"))


@pytest.mark.usefixtures("soon_again")
async def test_a_reload_that_systemd_refuses_is_said_and_got_over(
    host: Host, announce: Announced
) -> None:
    announce("not enough space available")
    host.apply("x", {"unit": SLEEPS, "command": "start"})
    async with host.agent():
        await host.until_ready("x", 1)
        reload, refused = host.systemd.reload, []

        async def no_space() -> None:
            refused.append(True)
            raise SystemdRefused("Refusing to reload, not enough space available on /run/systemd")

        host.systemd.reload = no_space  # type: ignore[method-assign]
        host.apply("x", {"unit": SLEEPS + "#\n", "command": "start"}, generation=2)
        await host.until(lambda: host.condition("x", "Applied") == ("False", "ApplyFailed"))
        host.systemd.reload = reload  # type: ignore[method-assign]
        await host.until_ready("x", 2)
    assert refused


async def test_another_name_of_a_denied_unit_is_denied_too(host: Host) -> None:
    host.rules = Policy(denied_units=("ssh.service",))
    (host.units / "ssh.service").write_text(SLEEPS)
    looks = host.systemd.unit

    async def unit(name: str) -> Unit:
        found = await looks("ssh.service" if name == "sshd.service" else name)
        return replace(found, name=name, names=("ssh.service", "sshd.service"))

    host.systemd.unit = unit  # type: ignore[method-assign]
    host.apply("x", {"name": "sshd.service"})
    async with host.agent():
        await host.until(lambda: ("local", "x") in host.board.views)
        await host.until(lambda: host.condition("x", "Accepted") == ("True", "Accepted"))
        host.apply("x", {"name": "sshd.service", "command": "start"}, generation=2)
        await host.until(lambda: host.condition("x", "Accepted") == ("False", "DeniedByPolicy"))
    assert host.jobs("start") == []
