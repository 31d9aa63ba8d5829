"""The numbers of a unit that change without a signal. Pure data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tambourinefs.model.unit import Process, Unit


@dataclass(frozen=True, slots=True)
class Figures:
    """Live numbers of one unit; None: not accounted, or there is no control group."""

    tasks: int | None = None
    memory: int | None = None  # bytes
    memory_available: int | None = None  # bytes until the nearest limit
    memory_peak: int | None = None  # bytes
    memory_swap: int | None = None
    memory_swap_peak: int | None = None
    memory_zswap: int | None = None
    cpu_nsec: int | None = None
    main_command: str = ""  # comm of the main process; "" where it does not run
    control_command: str = ""
    processes: tuple[Process, ...] = ()
    processes_left_out: int = 0  # beyond the limit that is shown


def figures_of(unit: Unit) -> Figures:
    """The figures of systemd's last answer: for units whose control group cannot be read here."""
    return Figures(
        tasks=unit.tasks_current,
        memory=unit.memory_current,
        memory_available=unit.memory_available,
        memory_peak=unit.memory_peak,
        memory_swap=unit.memory_swap_current,
        memory_swap_peak=unit.memory_swap_peak,
        memory_zswap=unit.memory_zswap_current,
        cpu_nsec=unit.cpu_usage_nsec,
        main_command=unit.main_command,
        control_command=unit.control_command,
        processes=unit.processes,
    )
