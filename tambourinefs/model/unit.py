"""The observed state of a unit, as plain values.

Names are those of the properties in org.freedesktop.systemd1(5); times are microseconds of
CLOCK_REALTIME (0: never); sizes are bytes; None is "unset" (UINT64_MAX) or "this unit type has no
such property".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

OLDEST_RELEASE: Final = 252  # of systemd: Debian 12's


@dataclass(frozen=True, slots=True)
class Exec:
    """One ExecStartPre=, ExecStart= … line and its last run (`Process:` in systemctl status)."""

    setting: str  # "ExecStartPre", "ExecStart", …
    argv: tuple[str, ...]
    pid: int
    exit_usec: int
    code: int  # CLD_EXITED, CLD_KILLED, CLD_DUMPED
    status: int  # exit status or signal number
    ignore_failure: bool = (
        False  # procfs shows those with code != 0, in systemd's order of settings
    )


@dataclass(frozen=True, slots=True)
class UnitCondition:
    """One Condition…=/Assert…= line and its last result."""

    setting: str  # "ConditionPathExists"
    trigger: bool
    negate: bool
    parameter: str
    result: int  # >0 met, 0 not tested, <0 not met


@dataclass(frozen=True, slots=True)
class Process:
    """A process in the unit's control group."""

    cgroup: str  # as in ControlGroup, with the subgroup where it is in one
    pid: int
    command: str


@dataclass(frozen=True, slots=True)
class Unit:
    """A snapshot of a unit. `name` is the requested name, `id` the primary name (Id) of an alias."""

    name: str
    id: str = ""
    description: str = ""
    load_state: str = "not-found"
    load_error: tuple[str, str] = ("", "")  # D-Bus error name, message
    fragment_path: str = ""
    source_path: str = ""
    drop_in_paths: tuple[str, ...] = ()
    unit_file_state: str = ""
    unit_file_preset: str = ""
    need_daemon_reload: bool = False
    documentation: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    following: str = ""
    transient: bool = False

    active_state: str = "inactive"
    sub_state: str = "dead"
    freezer_state: str = ""
    result: str = ""  # service, socket, timer, mount … Result; "" where the type has none
    job: tuple[int, str] = (0, "")  # id, type; 0: none
    invocation_id: str = ""  # 32 hex digits, or empty
    inactive_exit_usec: int = 0
    inactive_enter_usec: int = 0
    active_enter_usec: int = 0
    active_exit_usec: int = 0
    state_change_usec: int = 0

    condition_result: bool = True
    condition_usec: int = 0
    conditions: tuple[UnitCondition, ...] = ()
    assert_result: bool = True
    assert_usec: int = 0
    asserts: tuple[UnitCondition, ...] = ()

    service_type: str = ""  # Type= of a service; "" otherwise
    runtime_max_usec: int | None = None  # RuntimeMaxUSec; None: infinity
    main_pid: int = 0
    main_command: str = ""  # comm of the main process while it runs
    control_pid: int = 0
    control_command: str = ""
    exec_main_start_usec: int = 0
    exec_main_exit_usec: int = 0
    exec_main_pid: int = 0
    exec_main_code: int = 0
    exec_main_status: int = 0
    execs: tuple[Exec, ...] = ()
    status_text: str = ""
    status_errno: int = 0
    status_bus_error: str = ""  # D-Bus error name
    status_varlink_error: str = ""
    fd_store: int = 0  # descriptors that systemd keeps for it
    fd_store_max: int = 0
    n_restarts: int = 0

    tasks_current: int | None = None
    tasks_max: int | None = None
    memory_current: int | None = None
    memory_min: int | None = 0  # None: infinity (the protection is unlimited)
    memory_low: int | None = 0  # likewise
    memory_high: int | None = None
    memory_max: int | None = None
    memory_swap_max: int | None = None
    memory_limit: int | None = None  # MemoryLimit=, cgroup v1
    memory_available: int | None = None
    memory_peak: int | None = None  # this and what follows: systemd 254 and later
    memory_swap_current: int | None = None
    memory_swap_peak: int | None = None
    memory_zswap_current: int | None = None
    memory_zswap_max: int | None = None
    startup_memory_low: int | None = 0
    startup_memory_high: int | None = None
    startup_memory_max: int | None = None
    startup_memory_swap_max: int | None = None
    startup_memory_zswap_max: int | None = None
    cpu_usage_nsec: int | None = None
    ip_ingress_bytes: int | None = None
    ip_egress_bytes: int | None = None
    io_read_bytes: int | None = None
    io_write_bytes: int | None = None
    control_group: str = ""
    processes: tuple[Process, ...] = ()

    listen: tuple[tuple[str, str], ...] = ()  # sockets: (type, address)
    accepted: int | None = None  # NAccepted of a socket with Accept=yes; None without
    connections: int | None = None  # NConnections, likewise
    refused: int = 0  # NRefused
    triggers: tuple[str, ...] = ()
    triggered_by: tuple[tuple[str, str], ...] = ()  # (unit, its active state)
    next_elapse_realtime_usec: int | None = None  # timers
    next_elapse_monotonic_usec: int | None = None
    what: str = ""  # mounts, swaps
    where: str = ""
    sysfs_path: str = ""  # devices
    release: int = OLDEST_RELEASE  # of systemd: status texts follow its systemctl

    @property
    def suffix(self) -> str:
        """The unit type: "service", "socket", …"""
        return (self.id or self.name).rpartition(".")[2]
