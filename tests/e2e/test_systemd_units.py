"""A Unit has what `systemctl show` prints, for every common kind of unit."""

from __future__ import annotations

import shlex

import pytest
import trio

from tambourinefs.agent.units.cache import UnitCache
from tambourinefs.model.unit import Unit
from tests.e2e.systemd_world import HostWorld, world_of
from tests.fakes.systemd_rules import SLEEPS
from tests.lab.hosts import Host
from tests.waiting import PATIENCE

pytestmark = pytest.mark.trio

# Field of Unit: property of systemd, where `systemctl show --timestamp=us+utc` does not change the form.
TEXTS = {
    "id": "Id", "description": "Description", "load_state": "LoadState", "active_state": "ActiveState",
    "sub_state": "SubState", "fragment_path": "FragmentPath", "unit_file_state": "UnitFileState",
    "unit_file_preset": "UnitFilePreset", "invocation_id": "InvocationID", "control_group": "ControlGroup",
    "result": "Result", "status_text": "StatusText", "freezer_state": "FreezerState", "what": "What",
    "where": "Where",
}  # fmt: skip
NUMBERS = {
    "main_pid": "MainPID", "exec_main_pid": "ExecMainPID", "exec_main_code": "ExecMainCode",
    "exec_main_status": "ExecMainStatus", "n_restarts": "NRestarts", "tasks_current": "TasksCurrent",
    "tasks_max": "TasksMax", "memory_max": "MemoryMax", "accepted": "NAccepted", "refused": "NRefused",
}  # fmt: skip
LISTS = {
    "drop_in_paths": "DropInPaths",
    "documentation": "Documentation",
    "names": "Names",
    "triggers": "Triggers",
}


async def shown(world: HostWorld, name: str) -> dict[str, str]:
    """`systemctl show`, by property."""
    text = await world.run("systemctl", "show", "--all", "--", name)
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def number(text: str) -> int | None:
    return None if text in {"[not set]", "infinity"} else int(text)


async def at_rest(world: HostWorld, name: str) -> tuple[Unit, dict[str, str]]:
    """The unit and what systemctl shows of it, of a moment around which nothing changed: its figures move by themselves."""
    fields = {*TEXTS.values(), *NUMBERS.values(), *LISTS.values()}
    with trio.fail_after(PATIENCE):
        while True:
            before = await shown(world, name)
            unit = await world.systemd.unit(name)
            after = await shown(world, name)
            if all(before.get(field) == after.get(field) for field in fields):
                return unit, after


async def assert_as_shown(world: HostWorld, name: str) -> Unit:
    """Every field that systemctl shows for this unit is the same here; returns the unit."""
    unit, says = await at_rest(world, name)
    compared = 0
    for fields, read in ((TEXTS, str), (NUMBERS, number)):
        for ours, theirs in fields.items():
            value = getattr(unit, ours)
            if theirs in says and not (ours == "accepted" and value is None):
                assert value == read(says[theirs]), (name, ours)
                compared += 1
    for ours, theirs in LISTS.items():
        assert sorted(getattr(unit, ours)) == sorted(shlex.split(says.get(theirs, ""))), (
            name,
            ours,
        )
    assert compared >= 8
    return unit


async def test_a_running_service_with_drop_ins_and_documents(bare_host: Host) -> None:
    async with world_of(bare_host) as world:
        docs = "".join(f"Documentation=https://x.example/{n}\n" for n in range(5))
        await world.write(
            "u-run.service", f"[Unit]\n{docs}{SLEEPS}EnvironmentFile=-/etc/default/u\n"
        )
        for name in ("10-a", "20-b", "30-c"):
            await world.write(f"u-run.service.d/{name}.conf", f"[Service]\nEnvironment={name}=1\n")
        await world.systemd.start("u-run.service")
        unit = await assert_as_shown(world, "u-run.service")
        assert len(unit.drop_in_paths) == 3
        assert len(unit.documentation) == 5
        assert (unit.main_command, unit.service_type) == ("sleep", "simple")
        assert [(p.pid, p.command) for p in unit.processes] == [(unit.main_pid, "/bin/sleep 1000")]
        (start,) = [e for e in unit.execs if e.setting == "ExecStart"]
        assert (start.argv, start.pid) == (("/bin/sleep", "1000"), unit.main_pid)


async def test_a_failed_service(bare_host: Host) -> None:
    async with world_of(bare_host) as world:
        text = "[Service]\nType=oneshot\nExecStartPre=-/bin/false\nExecStart=/bin/sh -c 'exit 7'\n"
        await world.write("u-fail.service", text)
        await world.systemd.start("u-fail.service")
        unit = await assert_as_shown(world, "u-fail.service")
        assert [(e.setting, e.code, e.status, e.ignore_failure) for e in unit.execs] == [
            ("ExecStartPre", 1, 1, True),
            ("ExecStart", 1, 7, False),
        ]


async def test_a_template_instance_and_its_alias(bare_host: Host) -> None:
    async with world_of(bare_host) as world:
        await world.write("u-tpl@.service", SLEEPS + "Alias=u-alias@.service\n")
        await world.systemd.start("u-tpl@a\\x2db.service")
        unit = await assert_as_shown(world, "u-tpl@a\\x2db.service")
        assert unit.sub_state == "running"
        await world.systemd.enable(["u-tpl@a\\x2db.service"])
        await world.systemd.reload()
        alias = await assert_as_shown(world, "u-alias@a\\x2db.service")
        assert (alias.name, alias.id) == ("u-alias@a\\x2db.service", "u-tpl@a\\x2db.service")
        assert alias.main_pid == unit.main_pid
        await world.systemd.disable(["u-tpl@a\\x2db.service"])


async def test_an_alias_is_read_when_its_unit_changes(bare_host: Host) -> None:
    async with world_of(bare_host) as world:
        await world.write("u-real.service", SLEEPS + "Alias=u-other.service\n")
        await world.systemd.enable(["u-real.service"])
        await world.systemd.reload()
        cache = UnitCache(world.systemd)
        cache.follow(("local", "it"), "u-other.service")
        await cache.unit("u-other.service")
        await world.run("systemctl", "start", "u-real.service")
        with trio.fail_after(PATIENCE):
            for state in ("active", "failed"):
                while cache.units["u-other.service"].active_state != state:
                    await cache.wait()
                    await cache.read_next(frozenset(), busy=False)
                unit = cache.units["u-other.service"]
                assert (unit.name, unit.id) == ("u-other.service", "u-real.service")
                if state == "active":
                    await world.kill("u-real.service")
        await world.systemd.disable(["u-real.service"])


async def test_socket_timer_path_target_slice(bare_host: Host) -> None:
    async with world_of(bare_host) as world:
        await world.write("u-one.service", "[Service]\nType=oneshot\nExecStart=/bin/true\n")
        await world.write("u-acc@.service", "[Service]\nExecStart=/bin/cat\nStandardInput=socket\n")
        await world.write(
            "u-acc.socket", "[Socket]\nListenStream=/run/u-acc\nListenStream=4711\nAccept=yes\n"
        )
        await world.write("u-tick.timer", "[Timer]\nOnCalendar=yearly\nUnit=u-one.service\n")
        await world.write("u-mono.timer", "[Timer]\nOnActiveSec=1h\nUnit=u-one.service\n")
        await world.write("u-path.path", "[Path]\nPathExists=/run/u-never\nUnit=u-one.service\n")
        await world.write("u-goal.target", "[Unit]\nDescription=A goal\n")
        await world.write("u-part.slice", "[Slice]\nMemoryMax=1G\n")
        units = {}
        for name in (
            "u-acc.socket",
            "u-tick.timer",
            "u-mono.timer",
            "u-path.path",
            "u-goal.target",
            "u-part.slice",
        ):
            assert (await world.systemd.start(name)).result == "done"
            units[name] = await assert_as_shown(world, name)
        sock = units["u-acc.socket"]
        assert sock.listen == (("Stream", "/run/u-acc"), ("Stream", "[::]:4711"))
        assert (sock.accepted, sock.connections, sock.sub_state) == (0, 0, "listening")
        assert (units["u-tick.timer"].next_elapse_realtime_usec or 0) > 0
        assert units["u-tick.timer"].next_elapse_monotonic_usec is None
        assert (units["u-mono.timer"].next_elapse_monotonic_usec or 0) > 0
        assert units["u-part.slice"].memory_max == 2**30
        service = await assert_as_shown(world, "u-one.service")
        assert dict(service.triggered_by) == dict.fromkeys(
            ("u-tick.timer", "u-mono.timer", "u-path.path"), "active"
        )
        for name in units:
            await world.systemd.stop(name)


async def test_a_mount(bare_host: Host) -> None:
    async with world_of(bare_host) as world:
        await world.write(
            "run-u\\x2dmnt.mount", "[Mount]\nWhat=tmpfs\nWhere=/run/u-mnt\nType=tmpfs\n"
        )
        assert (await world.systemd.start("run-u\\x2dmnt.mount")).result == "done"
        unit = await assert_as_shown(world, "run-u\\x2dmnt.mount")
        assert (unit.what, unit.where, unit.service_type) == ("tmpfs", "/run/u-mnt", "")
        await world.run("umount", "/run/u-mnt")
        await world.wait("run-u\\x2dmnt.mount", lambda u: u.active_state == "inactive")


async def test_a_masked_a_disabled_a_missing_unit_and_no_unit_at_all(bare_host: Host) -> None:
    async with world_of(bare_host) as world:
        await world.mask("u-mask.service")
        await world.write("u-disabled.service", SLEEPS)
        for name in ("u-mask.service", "u-disabled.service", "u-missing.service"):
            await assert_as_shown(world, name)
        await world.write("u-tmpl@.service", SLEEPS)
        template = await world.systemd.unit("u-tmpl@.service")
        assert (template.load_state, template.unit_file_state) == ("not-found", "disabled")
        for nonsense in (
            "u",
            "a/b.service",
            ".service",
            "a b.service",
            "ä.service",
            "x" * 256 + ".service",
            "u.nosuch",
        ):
            unit = (await world.systemd.units([nonsense]))[nonsense]
            assert (unit.name, unit.load_state) == (nonsense, "not-found")
            assert unit.load_error[1]


async def test_forty_processes_in_a_tree(bare_host: Host) -> None:
    async with world_of(bare_host) as world:
        spawn = "for i in $(seq 39); do sleep 1000 & done; echo ready > /run/u-ready; wait"
        text = f"[Service]\nType=simple\nDelegate=yes\nExecStart=/bin/sh -c '{spawn}'\n"
        await world.write("u-many.service", text.replace("$(", "$$("))
        await world.systemd.start("u-many.service")
        await world.run("sh", "-c", "until test -e /run/u-ready; do sleep 0.05; done")
        unit = await world.systemd.unit("u-many.service")
        assert len(unit.processes) == 40
        assert {p.cgroup for p in unit.processes} == {unit.control_group}
        await world.systemd.stop("u-many.service")


async def test_a_unit_that_is_not_managed(bare_host: Host) -> None:
    async with world_of(bare_host) as world:
        unit = await assert_as_shown(world, "dbus.service")
        assert (unit.active_state, unit.main_command) == ("active", "dbus-daemon")
        assert ("dbus.socket", "active") in unit.triggered_by


@pytest.mark.timing
async def test_changes_by_hand_are_notified_within_a_second(bare_host: Host) -> None:
    async with world_of(bare_host) as world:
        await world.write("u-hand.service", SLEEPS)
        await world.systemd.ref("u-hand.service")
        await world.systemd.start("u-hand.service")
        await world.wait("u-hand.service", lambda u: u.active_state == "active")
        unit_file = str(world.path("u-hand.service")).removeprefix(str(bare_host.root))
        # The directory first: systemd notices a drop-in by itself only where a directory was at its last reload.
        await world.run("mkdir", f"{unit_file}.d")
        deeds = [
            (("systemctl", "stop", "u-hand.service"), lambda u: u.active_state == "inactive"),
            (("sh", "-c", f"echo '#' >> {unit_file}"), lambda u: u.need_daemon_reload),
            (("systemctl", "daemon-reload"), lambda u: not u.need_daemon_reload),
            (("systemctl", "enable", "u-hand.service"), lambda u: u.unit_file_state == "enabled"),
            (("systemctl", "disable", "u-hand.service"), lambda u: u.unit_file_state == "disabled"),
            (("sh", "-c", f"echo '[Unit]' > {unit_file}.d/x.conf"), lambda u: u.need_daemon_reload),
            (("rm", "-r", f"{unit_file}.d"), lambda u: not u.need_daemon_reload),
            (("rm", unit_file), lambda u: u.need_daemon_reload),
            (("systemctl", "daemon-reload"), lambda u: u.load_state == "not-found"),
        ]
        for argv, holds in deeds:
            await world.run(*argv)
            unit = None
            with trio.move_on_after(1):
                unit = await world.wait("u-hand.service", holds)
            assert unit is not None, argv
        await world.systemd.unref("u-hand.service")
