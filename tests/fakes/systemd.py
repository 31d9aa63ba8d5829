"""A systemd without processes: ports.Systemd over a directory of unit files, for tests of what
stands on it.

It passes the real one's own tests (fakes/systemd_rules.py). It knows services of Type=simple,
oneshot and the types that just become active; commands named sleep stay, true and echo succeed, all
others fail. Nothing is executed.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import trio

from tambourinefs.agent.ports import (
    InstallChanges,
    JobRefused,
    JobResult,
    SystemdUnavailable,
    UnitLoadFailed,
    UnitMasked,
    UnitNotFound,
    UnitState,
)
from tambourinefs.agent.units.changes import UnitChanges
from tambourinefs.model.unit import Unit, UnitCondition
from tests.fakes import unit_text

STAYS = ("sleep",)
SUCCEEDS = ("true", "echo")
NOT_THERE = ("not-found", "inactive")
PLAIN_STATES = {
    "socket": "listening", "timer": "waiting", "path": "waiting", "target": "active",
    "mount": "mounted", "slice": "active",
}  # fmt: skip


def now() -> int:
    """CLOCK_REALTIME in microseconds."""
    return time.time_ns() // 1000


@dataclass
class _Loaded:
    """A unit in the manager's memory."""

    unit: Unit
    sections: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    referenced: bool = False
    stop_waiting: trio.Event | None = None  # the job under way ends when it is set
    job_result: str = ""

    def values(self, section: str, key: str) -> list[str]:
        return self.sections.get(section, {}).get(key, [])

    def value(self, section: str, key: str, default: str = "") -> str:
        return (self.values(section, key) or [default])[-1]


def _said_of(loaded: _Loaded) -> str:
    """See ports.JobResult."""
    return "" if loaded.referenced else loaded.unit.invocation_id


class FakeSystemd:
    """`directory` is its unit directory. `log` has every request that changes something, as (verb,
    name).
    """

    def __init__(self, directory: Path, *, boot_id: str = "") -> None:
        self.log: list[tuple[str, str]] = []
        self.runs: list[str] = []  # a unit for each time that it was really started
        self._directory = directory
        self._boot_id = boot_id or uuid.uuid4().hex
        self._changes = UnitChanges()
        self._changes.notify(everything=True)
        self._units: dict[str, _Loaded] = {}
        self._held: set[str] = set()
        self._connected = trio.Event()
        self._connected.set()
        self._job_number = 0
        self._pid = 1000

    # -- what a test does with it

    def disconnect(self) -> None:
        """The bus goes away."""
        self._connected = trio.Event()
        self._changes.notify(everything=True)

    def connect(self) -> None:
        """And comes back."""
        self._connected.set()
        self._changes.notify(everything=True)

    def hold(self, name: str) -> None:
        """Jobs of this unit do not end until `release`."""
        self._held.add(name)

    def release(self, name: str) -> None:
        self._held.discard(name)
        loaded = self._units.get(name)
        if loaded is not None and loaded.stop_waiting is not None:
            loaded.stop_waiting.set()

    def main_process_ends(self, name: str, status: int) -> None:
        """The main process of a running service exits."""
        self._exited(self._units[name], status)

    # -- ports.Systemd

    @property
    def connected(self) -> bool:
        return self._connected.is_set()

    @property
    def boot_id(self) -> str:
        return self._boot_id

    @property
    def changes(self) -> UnitChanges:
        return self._changes

    async def wait_connected(self) -> None:
        while not self._connected.is_set():
            await self._connected.wait()

    async def unit(self, name: str) -> Unit:
        await self._ask("GetAll")
        loaded = self._load(name)
        fragment = unit_text.find(self._directory, name)
        return replace(
            loaded.unit,
            name=name,
            need_daemon_reload=loaded.unit.load_state == "loaded"
            and loaded.sections != self._read(name),
            unit_file_state=self._file_state(name) if fragment else "",
        )

    async def units(self, names: Iterable[str]) -> dict[str, Unit]:
        return {name: await self.unit(name) for name in names}

    async def states(self, names: Iterable[str]) -> dict[str, UnitState]:
        found = await self.units(names)
        return {
            name: UnitState(
                name, u.id, u.description, u.load_state, u.active_state, u.sub_state, u.job
            )
            for name, u in found.items()
        }

    async def unit_file_state(self, name: str) -> str:
        await self._ask("GetUnitFileState")
        return self._file_state(name)

    async def reload(self) -> None:
        await self._ask("Reload")
        self.log.append(("reload", ""))
        for name, loaded in list(self._units.items()):
            fresh = self._fresh(name)
            loaded.sections = fresh.sections
            loaded.unit = replace(
                loaded.unit,
                description=fresh.unit.description,
                load_state=fresh.unit.load_state,
                load_error=fresh.unit.load_error,
                fragment_path=fresh.unit.fragment_path,
                drop_in_paths=fresh.unit.drop_in_paths,
                service_type=fresh.unit.service_type,
                conditions=fresh.unit.conditions,
            )
        self._changes.notify(everything=True)

    async def enable(self, names: Sequence[str], *, force: bool = False) -> InstallChanges:
        await self._ask("EnableUnitFiles")
        changes = []
        for name in names:
            path = unit_text.find(self._directory, name)
            if path is None:
                raise UnitNotFound(f"EnableUnitFiles: Unit file {name} does not exist.")
            if unit_text.is_mask(path):
                raise UnitMasked(f"EnableUnitFiles: Unit file {path} is masked.")
        for name in names:
            self.log.append(("enable", name))
            install = self._read(name).get("Install", {})
            for link in self._links(name, install):
                if not link.is_symlink():
                    link.parent.mkdir(exist_ok=True)
                    link.symlink_to(self._directory / unit_text.template_of(name))
                    changes.append(("symlink", str(link), str(self._directory / name)))
        self._changes.notify(everything=True)
        return InstallChanges(tuple(changes))

    async def disable(self, names: Sequence[str]) -> InstallChanges:
        await self._ask("DisableUnitFiles")
        changes = []
        for name in names:
            self.log.append(("disable", name))
            if unit_text.find(self._directory, name) is None:
                continue
            for link in sorted(self._directory.glob(f"*.wants/{name}")):
                link.unlink()
                changes.append(("unlink", str(link), ""))
                if not any(link.parent.iterdir()):
                    link.parent.rmdir()  # as systemctl disable does
        self._changes.notify(everything=True)
        return InstallChanges(changes=tuple(changes))

    async def start(self, name: str) -> JobResult:
        return await self._job(name, "start")

    async def stop(self, name: str) -> JobResult:
        return await self._job(name, "stop")

    async def restart(self, name: str) -> JobResult:
        return await self._job(name, "restart")

    async def reload_unit(self, name: str) -> JobResult:
        return await self._job(name, "reload")

    async def wait_job(self, name: str) -> JobResult | None:
        await self._ask("Get")
        loaded = self._load(name)
        if loaded.stop_waiting is None:
            return None
        await loaded.stop_waiting.wait()
        await trio.lowlevel.checkpoint()
        return JobResult(name, loaded.job_result)

    async def reset_failed(self, name: str) -> None:
        await self._ask("ResetFailedUnit")
        self.log.append(("reset-failed", name))
        loaded = self._units.get(name)
        if loaded is not None and loaded.unit.active_state == "failed":
            self._change(
                loaded, active_state="inactive", sub_state="dead", result="success", n_restarts=0
            )

    async def ref(self, name: str) -> None:
        await self._ask("RefUnit")
        loaded = self._load(name)
        loaded.referenced = loaded.unit.load_state != "not-found"

    async def unref(self, name: str) -> None:
        if name in self._units:
            self._units[name].referenced = False

    # -- files

    def _read(self, name: str) -> dict[str, dict[str, list[str]]]:
        path = unit_text.find(self._directory, name)
        if path is None or not path.exists():
            return {}
        drop_ins = unit_text.drop_ins(self._directory, name)
        return unit_text.parse(path.read_text(), *(p.read_text() for p in drop_ins))

    def _links(self, name: str, install: dict[str, list[str]]) -> list[Path]:
        targets = [t for value in install.get("WantedBy", []) for t in value.split()]
        return [self._directory / f"{target}.wants" / name for target in targets]

    def _file_state(self, name: str) -> str:
        path = unit_text.find(self._directory, name)
        if path is None:
            return ""
        if unit_text.is_mask(path):
            return "masked"
        install = self._read(name).get("Install", {})
        links = self._links(name, install)
        if not install:
            return "static"
        return "enabled" if links and all(link.is_symlink() for link in links) else "disabled"

    def _fresh(self, name: str) -> _Loaded:
        """A unit as its file has it now."""
        path = unit_text.find(self._directory, name)
        if path is None:
            error = ("org.freedesktop.systemd1.NoSuchUnit", f"Unit {name} not found.")
            return _Loaded(Unit(name=name, id=name, load_error=error))
        if unit_text.is_mask(path):
            error = ("org.freedesktop.systemd1.UnitMasked", f"Unit {name} is masked.")
            return _Loaded(
                Unit(name, name, load_state="masked", load_error=error, fragment_path=str(path))
            )
        sections = self._read(name)
        loaded = _Loaded(Unit(name=name, id=name), sections)
        service = name.endswith(".service")
        bad = service and not loaded.values("Service", "ExecStart")
        broken = (
            "org.freedesktop.systemd1.BadUnitSetting",
            f"Unit {name} has a bad unit file setting.",
        )
        loaded.unit = Unit(
            name=name,
            id=name,
            description=loaded.value("Unit", "Description", name),
            load_state="bad-setting" if bad else "loaded",
            load_error=broken if bad else ("", ""),
            fragment_path=str(path),
            drop_in_paths=tuple(str(p) for p in unit_text.drop_ins(self._directory, name)),
            result="success",
            service_type=loaded.value("Service", "Type", "simple") if service else "",
            conditions=_conditions(loaded.sections),
        )
        return loaded

    def _load(self, name: str) -> _Loaded:
        self._collect()
        path = self._directory / name
        if path.is_symlink() and not unit_text.is_mask(path) and path.exists():
            target = path.resolve().name
            if "@" not in target and target != name:
                return self._load(target)  # an alias
        loaded = self._units.get(name)
        gone = (
            loaded is not None and (loaded.unit.load_state, loaded.unit.active_state) == NOT_THERE
        )
        if loaded is None or gone:  # a unit that was not found is loaded again
            loaded = self._units[name] = self._fresh(name)
        return loaded

    def _collect(self) -> None:
        """Unload what nothing references, with its results."""
        for name, loaded in list(self._units.items()):
            if (
                loaded.unit.active_state == "inactive"
                and not loaded.referenced
                and not loaded.unit.job[0]
            ):
                del self._units[name]

    # -- jobs

    async def _ask(self, what: str) -> None:
        await trio.lowlevel.checkpoint()
        if not self.connected:
            raise SystemdUnavailable(f"{what}: systemd is not reachable over the system bus")

    async def _job(self, name: str, kind: str) -> JobResult:
        await self._ask(kind)
        loaded = self._load(name)
        self._refuse(loaded, name, kind)
        self.log.append((kind, name))
        if loaded.stop_waiting is not None and kind == "stop":
            self._finish(loaded, "canceled")
        self._job_number += 1
        held = name in self._held
        ended = loaded.stop_waiting = trio.Event()
        self._change(loaded, job=(self._job_number, kind))
        if held:
            if kind != "stop":
                self._change(loaded, active_state="activating", sub_state="start")
            await ended.wait()
            if loaded.stop_waiting is not ended:  # another job has taken its place
                return JobResult(name, "canceled", _said_of(loaded))
        result = await self._carry_out(loaded, kind)
        invocation = _said_of(loaded)
        self._finish(loaded, result)
        return JobResult(loaded.unit.id, result, invocation)

    def _refuse(self, loaded: _Loaded, name: str, kind: str) -> None:
        unit, what = loaded.unit, f"{kind.title()}Unit {name}"
        if unit.load_state == "not-found" and unit.active_state == "inactive":
            raise UnitNotFound(f"{what}: Unit {name} not found.")
        if kind == "stop":
            return
        if unit.load_state == "masked":
            raise UnitMasked(f"{what}: Unit {name} is masked.", error=unit.load_error[0])
        if unit.load_state == "bad-setting":
            raise UnitLoadFailed(f"{what}: {unit.load_error[1]}", error=unit.load_error[0])
        if kind == "reload" and not loaded.values("Service", "ExecReload"):
            raise JobRefused(f"{what}: Job type reload is not applicable for unit {name}.")

    def _finish(self, loaded: _Loaded, result: str) -> None:
        loaded.job_result = result
        event, loaded.stop_waiting = loaded.stop_waiting, None
        self._change(loaded, job=(0, ""))
        if event is not None:
            event.set()

    async def _carry_out(self, loaded: _Loaded, kind: str) -> str:
        if kind == "reload":
            return "done" if loaded.unit.active_state == "active" else "invalid"
        if kind in {"stop", "restart"} and loaded.unit.active_state not in {"inactive", "failed"}:
            ending = {"inactive_enter_usec": now(), "active_exit_usec": now()}
            self._change(loaded, active_state="inactive", sub_state="dead", main_pid=0, **ending)
        if kind == "stop" or loaded.unit.active_state == "active":
            return "done"
        for needed in [n for value in loaded.values("Unit", "Requires") for n in value.split()]:
            if (await self._job(needed, "start")).result != "done":
                return "dependency"
        return self._start(loaded)

    def _start(self, loaded: _Loaded) -> str:
        if not self._conditions_hold(loaded):
            return "done"
        suffix = loaded.unit.suffix
        self.runs.append(loaded.unit.id)
        invocation = {
            "invocation_id": uuid.uuid4().hex,
            "inactive_exit_usec": now(),
            "result": "success",
        }
        if suffix != "service":
            state = PLAIN_STATES.get(suffix, "active")
            self._change(
                loaded,
                active_state="active",
                sub_state=state,
                active_enter_usec=now(),
                **invocation,
            )
            return "done"
        self._pid += 1
        running = {"main_pid": self._pid, "exec_main_pid": self._pid, "exec_main_start_usec": now()}
        self._change(
            loaded,
            active_state="active",
            sub_state="running",
            active_enter_usec=now(),
            **running,
            **invocation,
        )
        command = Path(loaded.values("Service", "ExecStart")[-1].split()[0].lstrip("-@:+!")).name
        if command in STAYS:
            return "done"
        status = 0 if command in SUCCEEDS else 1
        self._exited(loaded, status)
        return "failed" if status and loaded.unit.service_type == "oneshot" else "done"

    def _exited(self, loaded: _Loaded, status: int) -> None:
        ended = {
            "main_pid": 0,
            "exec_main_code": 1,
            "exec_main_status": status,
            "exec_main_exit_usec": now(),
        }
        remains = loaded.value("Service", "RemainAfterExit") in {"yes", "true", "1"}
        if status:
            self._change(
                loaded, active_state="failed", sub_state="failed", result="exit-code", **ended
            )
        elif remains:
            self._change(loaded, active_state="active", sub_state="exited", **ended)
        else:
            self._change(loaded, active_state="inactive", sub_state="dead", **ended)
        if not remains or status:
            self._change(loaded, inactive_enter_usec=now())

    def _conditions_hold(self, loaded: _Loaded) -> bool:
        tested = tuple(
            replace(c, result=1 if Path(c.parameter).exists() != c.negate else -1)
            for c in loaded.unit.conditions
        )
        holds = all(c.result > 0 for c in tested)
        self._change(loaded, conditions=tested, condition_result=holds, condition_usec=now())
        return holds

    def _change(self, loaded: _Loaded, **values: object) -> None:
        before = loaded.unit
        loaded.unit = replace(before, **values)  # type: ignore[arg-type]
        if (
            loaded.unit.active_state != before.active_state
            or loaded.unit.sub_state != before.sub_state
        ):
            loaded.unit = replace(loaded.unit, state_change_usec=now())
        self._changes.notify([loaded.unit.id])


def _conditions(sections: dict[str, dict[str, list[str]]]) -> tuple[UnitCondition, ...]:
    values = sections.get("Unit", {}).get("ConditionPathExists", [])
    return tuple(
        UnitCondition(
            "ConditionPathExists",
            trigger=False,
            negate=v.startswith("!"),
            parameter=v.lstrip("!"),
            result=0,
        )
        for v in values
    )
