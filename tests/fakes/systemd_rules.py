"""What every ports.Systemd does, as test bodies: the real one proves them on a lab host, the fake
in the unit lane.

Each rule gets a World; unit names are the rule's own, so that rules do not meet.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import pytest
import trio

from tambourinefs.agent.ports import (
    JobRefused,
    JobResult,
    Systemd,
    UnitLoadFailed,
    UnitMasked,
    UnitNotFound,
)
from tambourinefs.model.unit import Unit
from tests.waiting import PATIENCE


class World(ABC):
    """A host with a systemd, and root on it."""

    systemd: Systemd

    @abstractmethod
    async def write(self, name: str, text: str) -> None:
        """Write a file below the unit directory ("a.service", "a.service.d/x.conf")."""

    @abstractmethod
    async def mask(self, name: str) -> None: ...

    @abstractmethod
    async def remove(self, name: str) -> None: ...

    @abstractmethod
    async def kill(self, name: str) -> None:
        """The main process of a running service dies with a failure."""

    async def wait(self, name: str, holds: Callable[[Unit], bool]) -> Unit:
        """Wait until a unit is so; AssertionError with what it is instead."""
        unit = await self.systemd.unit(name)
        with trio.move_on_after(PATIENCE):
            while not holds(unit):
                await self.systemd.changes.wait()
                unit = (await self.systemd.units([name]))[name]
        assert holds(unit), unit
        return unit


SLEEPS = "[Service]\nExecStart=/bin/sleep 1000\nExecReload=/bin/true\n[Install]\nWantedBy=multi-user.target\n"


async def start_and_stop(world: World) -> None:
    await world.write("r-simple.service", f"[Unit]\nDescription=Simple one\n{SLEEPS}")
    result = await world.systemd.start("r-simple.service")
    assert (result.unit, result.result) == ("r-simple.service", "done")
    unit = await world.systemd.unit("r-simple.service")
    assert (unit.active_state, unit.sub_state, unit.result) == ("active", "running", "success")
    assert unit.description == "Simple one"
    assert unit.main_pid > 0
    assert unit.invocation_id == result.invocation_id
    assert len(result.invocation_id) == 32
    assert (await world.systemd.stop("r-simple.service")).result == "done"
    assert (await world.systemd.unit("r-simple.service")).active_state == "inactive"


async def start_of_a_running_unit_changes_nothing(world: World) -> None:
    await world.write("r-twice.service", SLEEPS)
    first = await world.systemd.start("r-twice.service")
    again = await world.systemd.start("r-twice.service")
    assert again.result == "done"
    assert again.invocation_id == first.invocation_id
    await world.systemd.stop("r-twice.service")


async def restart_is_a_new_invocation(world: World) -> None:
    await world.write("r-restart.service", SLEEPS)
    first = await world.systemd.restart("r-restart.service")
    second = await world.systemd.restart("r-restart.service")
    assert (first.result, second.result) == ("done", "done")
    assert first.invocation_id != second.invocation_id
    await world.systemd.stop("r-restart.service")


async def reload_keeps_the_invocation(world: World) -> None:
    await world.write("r-reload.service", SLEEPS)
    started = await world.systemd.start("r-reload.service")
    reloaded = await world.systemd.reload_unit("r-reload.service")
    assert (reloaded.result, reloaded.invocation_id) == ("done", started.invocation_id)
    await world.systemd.stop("r-reload.service")


async def reload_without_a_way_is_refused(world: World) -> None:
    await world.write("r-noreload.service", "[Service]\nExecStart=/bin/sleep 1000\n")
    await world.systemd.start("r-noreload.service")
    with pytest.raises(JobRefused):
        await world.systemd.reload_unit("r-noreload.service")
    await world.systemd.stop("r-noreload.service")


async def a_missing_unit(world: World) -> None:
    unit = await world.systemd.unit("r-missing.service")
    assert (unit.load_state, unit.active_state, unit.unit_file_state) == (
        "not-found",
        "inactive",
        "",
    )
    assert await world.systemd.unit_file_state("r-missing.service") == ""
    for request in (world.systemd.start, world.systemd.stop, world.systemd.restart):
        with pytest.raises(UnitNotFound):
            await request("r-missing.service")
    with pytest.raises(UnitNotFound):
        await world.systemd.enable(["r-missing.service"])
    await world.systemd.disable(["r-missing.service"])
    await world.systemd.reset_failed("r-missing.service")
    await world.systemd.ref("r-missing.service")
    await world.systemd.unref("r-missing.service")


async def a_masked_unit(world: World) -> None:
    await world.mask("r-masked.service")
    unit = await world.systemd.unit("r-masked.service")
    assert (unit.load_state, unit.unit_file_state) == ("masked", "masked")
    with pytest.raises(UnitMasked):
        await world.systemd.start("r-masked.service")
    with pytest.raises(UnitMasked):
        await world.systemd.enable(["r-masked.service"])
    await world.remove("r-masked.service")


async def a_broken_unit(world: World) -> None:
    await world.write("r-broken.service", "[Service]\nType=simple\n")
    unit = await world.systemd.unit("r-broken.service")
    assert unit.load_state == "bad-setting"
    assert "bad unit file setting" in unit.load_error[1]
    with pytest.raises(UnitLoadFailed):
        await world.systemd.start("r-broken.service")


async def a_oneshot_that_is_referenced_keeps_its_result(world: World) -> None:
    await world.write("r-once.service", "[Service]\nType=oneshot\nExecStart=/bin/true\n")
    await world.systemd.ref("r-once.service")
    result = await world.systemd.start("r-once.service")
    unit = await world.systemd.unit("r-once.service")
    assert (result.result, unit.active_state, unit.sub_state) == ("done", "inactive", "dead")
    assert (result.invocation_id, len(unit.invocation_id)) == ("", 32)  # it keeps its own
    assert unit.inactive_enter_usec >= unit.inactive_exit_usec > 0
    await world.systemd.unref("r-once.service")


async def a_oneshot_without_references_reports_its_invocation_and_loses_it(world: World) -> None:
    await world.write("r-forgets.service", "[Service]\nType=oneshot\nExecStart=/bin/true\n")
    result = await world.systemd.start("r-forgets.service")
    assert len(result.invocation_id) == 32
    await world.wait(
        "r-forgets.service", lambda u: u.invocation_id == "" and not u.inactive_enter_usec
    )


async def a_oneshot_that_fails(world: World) -> None:
    await world.write("r-fails.service", "[Service]\nType=oneshot\nExecStart=/bin/false\n")
    assert (await world.systemd.start("r-fails.service")).result == "failed"
    unit = await world.systemd.unit("r-fails.service")
    assert (unit.active_state, unit.result, unit.exec_main_status) == ("failed", "exit-code", 1)
    await world.systemd.reset_failed("r-fails.service")
    assert (await world.systemd.unit("r-fails.service")).active_state == "inactive"


async def a_oneshot_that_remains(world: World) -> None:
    text = "[Service]\nType=oneshot\nExecStart=/bin/true\nRemainAfterExit=yes\n"
    await world.write("r-remains.service", text)
    await world.systemd.start("r-remains.service")
    unit = await world.systemd.unit("r-remains.service")
    assert (unit.active_state, unit.sub_state) == ("active", "exited")
    await world.systemd.stop("r-remains.service")


async def a_dependency_that_fails(world: World) -> None:
    await world.write("r-bad.service", "[Service]\nType=oneshot\nExecStart=/bin/false\n")
    needs = "[Unit]\nRequires=r-bad.service\nAfter=r-bad.service\n"
    await world.write("r-needs.service", f"{needs}{SLEEPS}")
    assert (await world.systemd.start("r-needs.service")).result == "dependency"
    await world.systemd.reset_failed("r-bad.service")


async def a_condition_that_does_not_hold(world: World) -> None:
    await world.write("r-cond.service", f"[Unit]\nConditionPathExists=/nonexistent\n{SLEEPS}")
    await world.systemd.ref("r-cond.service")
    assert (await world.systemd.start("r-cond.service")).result == "done"
    unit = await world.systemd.unit("r-cond.service")
    assert (unit.active_state, unit.condition_result) == ("inactive", False)
    assert unit.condition_usec > 0
    (condition,) = unit.conditions
    assert (condition.setting, condition.parameter) == ("ConditionPathExists", "/nonexistent")
    assert condition.result < 0
    await world.systemd.unref("r-cond.service")


async def enable_and_disable(world: World) -> None:
    await world.write("r-enable.service", SLEEPS)
    assert (await world.systemd.unit("r-enable.service")).unit_file_state == "disabled"
    made = await world.systemd.enable(["r-enable.service"])
    assert [kind for kind, _, _ in made.changes] == ["symlink"]
    assert await world.systemd.unit_file_state("r-enable.service") == "enabled"
    await world.systemd.reload()
    assert (await world.systemd.unit("r-enable.service")).unit_file_state == "enabled"
    gone = await world.systemd.disable(["r-enable.service"])
    assert [kind for kind, _, _ in gone.changes] == ["unlink"]
    assert await world.systemd.unit_file_state("r-enable.service") == "disabled"


async def a_unit_without_install_section_is_static(world: World) -> None:
    await world.write("r-static.service", "[Service]\nExecStart=/bin/sleep 1000\n")
    made = await world.systemd.enable(["r-static.service"])
    assert made.changes == ()
    assert await world.systemd.unit_file_state("r-static.service") == "static"


async def an_edit_counts_after_reload(world: World) -> None:
    await world.write("r-edit.service", f"[Unit]\nDescription=Before\n{SLEEPS}")
    await world.systemd.start("r-edit.service")
    await world.write("r-edit.service", f"[Unit]\nDescription=After\n{SLEEPS}")
    unit = await world.systemd.unit("r-edit.service")
    assert (unit.description, unit.need_daemon_reload) == ("Before", True)
    await world.systemd.reload()
    unit = await world.systemd.unit("r-edit.service")
    assert (unit.description, unit.need_daemon_reload, unit.active_state) == (
        "After",
        False,
        "active",
    )
    await world.systemd.stop("r-edit.service")


async def a_drop_in_counts(world: World) -> None:
    await world.write("r-drop.service", SLEEPS)
    await world.write("r-drop.service.d/10-a.conf", "[Unit]\nDescription=Dropped in\n")
    unit = await world.systemd.unit("r-drop.service")
    assert unit.description == "Dropped in"
    assert [p.rpartition("/")[2] for p in unit.drop_in_paths] == ["10-a.conf"]


async def a_new_unit_needs_no_reload_even_if_it_was_asked_for(world: World) -> None:
    assert (await world.systemd.unit("r-new.service")).load_state == "not-found"
    await world.write("r-new.service", SLEEPS)
    assert (await world.systemd.start("r-new.service")).result == "done"
    await world.systemd.stop("r-new.service")


async def a_removed_unit_runs_on_until_it_is_stopped(world: World) -> None:
    await world.write("r-removed.service", SLEEPS)
    await world.systemd.start("r-removed.service")
    await world.remove("r-removed.service")
    await world.systemd.reload()
    unit = await world.systemd.unit("r-removed.service")
    assert (unit.load_state, unit.active_state) == ("not-found", "active")
    assert (await world.systemd.stop("r-removed.service")).result == "done"
    assert (await world.systemd.unit("r-removed.service")).active_state == "inactive"


async def an_instance_of_a_template(world: World) -> None:
    await world.write("r-tpl@.service", f"[Unit]\nDescription=One of many\n{SLEEPS}")
    assert (await world.systemd.start("r-tpl@one.service")).result == "done"
    unit = await world.systemd.unit("r-tpl@one.service")
    assert (unit.id, unit.active_state) == ("r-tpl@one.service", "active")
    assert unit.fragment_path.endswith("/r-tpl@.service")
    await world.systemd.stop("r-tpl@one.service")


async def a_process_that_dies_is_notified(world: World) -> None:
    await world.write("r-dies.service", SLEEPS)
    await world.systemd.start("r-dies.service")
    await world.wait("r-dies.service", lambda u: u.active_state == "active")
    await world.kill("r-dies.service")
    unit = await world.wait("r-dies.service", lambda u: u.active_state == "failed")
    assert unit.result != "success"
    await world.systemd.reset_failed("r-dies.service")


async def many_at_once(world: World) -> None:
    await world.write("r-many-a.service", SLEEPS)
    await world.systemd.start("r-many-a.service")
    names = ["r-many-a.service", "r-many-missing.service"]
    units = await world.systemd.units(names)
    assert list(units) == names
    states = await world.systemd.states(names)
    for name in names:
        assert states[name].active_state == units[name].active_state
        assert states[name].load_state == units[name].load_state
        assert units[name].name == states[name].name == name
    await world.systemd.stop("r-many-a.service")


async def jobs_of_different_units_run_side_by_side(world: World) -> None:
    results: list[JobResult] = []

    async def start(name: str) -> None:
        results.append(await world.systemd.start(name))

    async with trio.open_nursery() as nursery:
        for number in range(8):
            await world.write(f"r-side-{number}.service", SLEEPS)
            nursery.start_soon(start, f"r-side-{number}.service")
    assert sorted((r.unit, r.result) for r in results) == [
        (f"r-side-{n}.service", "done") for n in range(8)
    ]
    assert len({r.invocation_id for r in results}) == 8
    for number in range(8):
        await world.systemd.stop(f"r-side-{number}.service")


async def no_job_to_wait_for(world: World) -> None:
    await world.write("r-idle.service", SLEEPS)
    assert await world.systemd.wait_job("r-idle.service") is None


async def other_types_become_active(world: World) -> None:
    await world.write("r-sock.service", SLEEPS)
    await world.write("r-sock.socket", "[Socket]\nListenStream=/run/r-sock\n")
    await world.write("r-tick.service", SLEEPS)
    await world.write("r-tick.timer", "[Timer]\nOnCalendar=yearly\n")
    for name, state in (("r-sock.socket", "listening"), ("r-tick.timer", "waiting")):
        assert (await world.systemd.start(name)).result == "done"
        unit = await world.systemd.unit(name)
        assert (unit.active_state, unit.sub_state, unit.service_type) == ("active", state, "")
        await world.systemd.stop(name)


async def boot_id_is_said(world: World) -> None:
    assert len(world.systemd.boot_id) == 32
    assert int(world.systemd.boot_id, 16)


RULES = [
    start_and_stop, start_of_a_running_unit_changes_nothing, restart_is_a_new_invocation,
    reload_keeps_the_invocation, reload_without_a_way_is_refused, a_missing_unit, a_masked_unit,
    a_broken_unit, a_oneshot_that_is_referenced_keeps_its_result,
    a_oneshot_without_references_reports_its_invocation_and_loses_it, a_oneshot_that_fails,
    a_oneshot_that_remains, a_dependency_that_fails, a_condition_that_does_not_hold,
    enable_and_disable, a_unit_without_install_section_is_static, an_edit_counts_after_reload,
    a_drop_in_counts, a_new_unit_needs_no_reload_even_if_it_was_asked_for,
    a_removed_unit_runs_on_until_it_is_stopped, an_instance_of_a_template,
    a_process_that_dies_is_notified, many_at_once, jobs_of_different_units_run_side_by_side,
    no_job_to_wait_for, other_types_become_active, boot_id_is_said,
]  # fmt: skip
