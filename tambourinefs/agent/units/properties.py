"""From D-Bus properties to a Unit: pure, so that it is tested with recorded values.

Names and types: org.freedesktop.systemd1(5). Escaping of object paths: bus_label_escape() of
systemd.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tambourinefs.agent.ports import UnitState
from tambourinefs.model.unit import Exec, Unit, UnitCondition

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

UNSET: Final = 2**64 - 1  # UINT64_MAX: "infinity" or "not available"
UNIT_PATHS: Final = "/org/freedesktop/systemd1/unit/"

# In the order in which they run; each has an …Ex twin with flags instead of the ignore-failure boolean.
EXEC_SETTINGS: Final = (
    "ExecCondition", "ExecStartPre", "ExecStart", "ExecStartPost", "ExecReload", "ExecStopPre", "ExecStop",
    "ExecStopPost", "ExecMount", "ExecRemount", "ExecUnmount", "ExecActivate", "ExecDeactivate",
)  # fmt: skip


def to_path(unit: str) -> str:
    """The object path of a unit: every byte but letters and digits (a first digit too) becomes _xx."""
    out = []
    for place, byte in enumerate(unit.encode()):
        plain = chr(byte).isalnum() and byte < 128 and not (place == 0 and 48 <= byte <= 57)
        out.append(chr(byte) if plain else f"_{byte:02x}")
    return UNIT_PATHS + ("".join(out) or "_")


def from_path(path: str) -> str:
    """The unit's name in an object path; "" when it is not the path of a unit."""
    if not path.startswith(UNIT_PATHS):
        return ""
    first, *rest = path[len(UNIT_PATHS) :].split("_")
    try:
        return first + "".join(chr(int(part[:2], 16)) + part[2:] for part in rest)
    except ValueError:
        return ""


def to_state(name: str, row: Sequence[Any]) -> UnitState:
    """A row of ListUnits and its like: id, description, load, active, sub, following, path, job id,
    type, path.
    """
    return UnitState(
        name=name,
        id=row[0],
        description=row[1],
        load_state=row[2],
        active_state=row[3],
        sub_state=row[4],
        job=(row[7], row[8]),
    )


class _Reader:
    """Values by property name, with systemd's "unset" as None and missing ones as that too."""

    def __init__(self, properties: Mapping[str, Any]) -> None:
        self._properties = properties

    def value(self, name: str, default: Any) -> Any:
        return self._properties.get(name, default)

    def text(self, name: str) -> str:
        return str(self.value(name, ""))

    def texts(self, name: str) -> tuple[str, ...]:
        return tuple(self.value(name, ()))

    def number(self, name: str) -> int:
        return int(self.value(name, 0))

    def size(self, name: str) -> int | None:
        value = int(self.value(name, UNSET))
        return None if value == UNSET else value

    def moment(self, name: str) -> int | None:
        return self.size(name) or None  # systemd's timestamp_is_set(): neither 0 nor infinity

    def flag(self, name: str, *, default: bool = False) -> bool:
        return bool(self.value(name, default))

    def conditions(self, name: str) -> tuple[UnitCondition, ...]:
        return tuple(UnitCondition(*row) for row in self.value(name, ()))

    def execs(self) -> tuple[Exec, ...]:
        return tuple(
            Exec(
                setting=setting,
                argv=tuple(row[1]),
                pid=row[7],
                exit_usec=row[5],
                code=row[8],
                status=row[9],
                ignore_failure=bool(row[2]),
            )
            for setting in EXEC_SETTINGS
            for row in self.value(setting, ())
        )


def to_unit(name: str, properties: Mapping[str, Any]) -> Unit:
    """A Unit from what GetAll("") answers: the properties of all its interfaces.

    What is not a property is left at its default: processes, job type, commands of PIDs, states of
    triggering units.
    """
    p = _Reader(properties)
    unit_id = p.text("Id") or name
    service = unit_id.endswith(".service")
    type_ = p.text("Type")
    accepted = p.number("NAccepted"), p.number("NConnections")
    counts = accepted if p.flag("Accept") else (None, None)
    return Unit(
        name=name,
        id=unit_id,
        description=p.text("Description"),
        load_state=p.text("LoadState") or "not-found",
        load_error=tuple(p.value("LoadError", ("", ""))),
        fragment_path=p.text("FragmentPath"),
        source_path=p.text("SourcePath"),
        drop_in_paths=p.texts("DropInPaths"),
        unit_file_state=p.text("UnitFileState"),
        unit_file_preset=p.text("UnitFilePreset"),
        need_daemon_reload=p.flag("NeedDaemonReload"),
        documentation=p.texts("Documentation"),
        names=p.texts("Names"),
        following=p.text("Following"),
        transient=p.flag("Transient"),
        active_state=p.text("ActiveState") or "inactive",
        sub_state=p.text("SubState") or "dead",
        freezer_state=p.text("FreezerState"),
        result=p.text("Result"),
        job=(p.value("Job", (0, "/"))[0], ""),
        invocation_id=bytes(p.value("InvocationID", b"")).hex(),
        inactive_exit_usec=p.number("InactiveExitTimestamp"),
        inactive_enter_usec=p.number("InactiveEnterTimestamp"),
        active_enter_usec=p.number("ActiveEnterTimestamp"),
        active_exit_usec=p.number("ActiveExitTimestamp"),
        state_change_usec=p.number("StateChangeTimestamp"),
        condition_result=p.flag("ConditionResult", default=True),
        condition_usec=p.number("ConditionTimestamp"),
        conditions=p.conditions("Conditions"),
        assert_result=p.flag("AssertResult", default=True),
        assert_usec=p.number("AssertTimestamp"),
        asserts=p.conditions("Asserts"),
        service_type=type_ if service else "",  # a mount's Type is its file system
        runtime_max_usec=p.size("RuntimeMaxUSec"),
        main_pid=p.number("MainPID"),
        control_pid=p.number("ControlPID"),
        exec_main_start_usec=p.number("ExecMainStartTimestamp"),
        exec_main_exit_usec=p.number("ExecMainExitTimestamp"),
        exec_main_pid=p.number("ExecMainPID"),
        exec_main_code=p.number("ExecMainCode"),
        exec_main_status=p.number("ExecMainStatus"),
        execs=p.execs(),
        status_text=p.text("StatusText"),
        status_errno=p.number("StatusErrno"),
        status_bus_error=p.text("StatusBusError"),
        status_varlink_error=p.text("StatusVarlinkError"),
        fd_store=p.number("NFileDescriptorStore"),
        fd_store_max=p.number("FileDescriptorStoreMax"),
        n_restarts=p.number("NRestarts"),
        tasks_current=p.size("TasksCurrent"),
        tasks_max=p.size("TasksMax"),
        memory_current=p.size("MemoryCurrent"),
        memory_min=_protection(p, "MemoryMin"),
        memory_low=_protection(p, "MemoryLow"),
        memory_high=p.size("MemoryHigh"),
        memory_max=p.size("MemoryMax"),
        memory_swap_max=p.size("MemorySwapMax"),
        memory_limit=p.size("MemoryLimit"),
        memory_available=p.size("MemoryAvailable"),
        memory_peak=p.size("MemoryPeak"),
        memory_swap_current=p.size("MemorySwapCurrent"),
        memory_swap_peak=p.size("MemorySwapPeak"),
        memory_zswap_current=p.size("MemoryZSwapCurrent"),
        memory_zswap_max=p.size("MemoryZSwapMax"),
        startup_memory_low=_protection(p, "StartupMemoryLow"),
        startup_memory_high=p.size("StartupMemoryHigh"),
        startup_memory_max=p.size("StartupMemoryMax"),
        startup_memory_swap_max=p.size("StartupMemorySwapMax"),
        startup_memory_zswap_max=p.size("StartupMemoryZSwapMax"),
        cpu_usage_nsec=p.size("CPUUsageNSec"),
        ip_ingress_bytes=p.size("IPIngressBytes"),
        ip_egress_bytes=p.size("IPEgressBytes"),
        io_read_bytes=p.size("IOReadBytes"),
        io_write_bytes=p.size("IOWriteBytes"),
        control_group=p.text("ControlGroup"),
        listen=tuple((kind, address) for kind, address in p.value("Listen", ())),
        accepted=counts[0],
        connections=counts[1],
        refused=p.number("NRefused"),
        triggers=p.texts("Triggers"),
        triggered_by=tuple((trigger, "") for trigger in p.texts("TriggeredBy")),
        next_elapse_realtime_usec=p.moment("NextElapseUSecRealtime"),
        next_elapse_monotonic_usec=p.moment("NextElapseUSecMonotonic"),
        what=p.text("What"),
        where=p.text("Where"),
        sysfs_path=p.text("SysFSPath"),
    )


def _protection(p: _Reader, name: str) -> int | None:
    return 0 if p.value(name, None) is None else p.size(name)


def unloaded(unit: Unit) -> bool:
    """Whether a unit is as if systemd had only just read its file, or found none.

    To read such a unit loads and unloads it; the signals of that (UnitNew, UnitRemoved) are no
    change.
    """
    return unit.active_state == "inactive" and not unit.state_change_usec and not unit.job[0]
