"""The values of a unit, each as `systemctl status` words it. Pure.

A value is text without a newline at its end; docs and drop-in may have several lines; "" is
"systemctl prints no such line". Source of the wording: print_status_info() of systemd 252 and 257
(src/systemctl/systemctl-show.c). Everything is escaped here: no value can add a line, a colour or a
cursor movement.
"""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING, Final

from tambourinefs.model.names import printable
from tambourinefs.procfs.render.formats import ending, protection, size
from tambourinefs.procfs.render.times import is_set, relative, timestamp

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tambourinefs.model.unit import Unit
    from tambourinefs.procfs.render.figures import Figures
    from tambourinefs.procfs.render.times import Moment

# show_preset_for_state(): for these the preset would only confuse.
_NO_PRESET: Final = frozenset({"alias", "static", "generated", "transient"})
_PEAKS: Final = 255  # the release since which peaks are told
_COMMAS: Final = 256


def systemd_name(unit: Unit) -> str:
    """`NetworkManager.service - Network Manager`; the primary name, also of an alias."""
    name = unit.id or unit.name
    described = unit.description and unit.description != name
    return printable(f"{name} - {unit.description}" if described else name)


def loaded(unit: Unit) -> str:
    """`loaded (/usr/lib/…/x.service; enabled; preset: enabled)`, `masked (Reason: …)`, `not-found
    (Reason: …)`.
    """
    if unit.load_error[1]:
        return printable(f"{unit.load_state} (Reason: {unit.load_error[1]})")
    path = unit.source_path or unit.fragment_path
    if not path:
        return printable(unit.load_state)
    words = [path]
    if unit.unit_file_state:
        words.append(unit.unit_file_state)
        if unit.unit_file_preset and unit.unit_file_state not in _NO_PRESET:
            words.append(f"preset: {unit.unit_file_preset}")
    return printable(f"{unit.load_state} ({'; '.join(words)})")


def drop_in(unit: Unit) -> str:
    """Each directory on a line of its own, then `└─10-a.conf, 20-b.conf`."""
    lines: list[str] = []
    names: list[str] = []
    directory = ""
    paths = unit.drop_in_paths
    for path, following in zip(paths, (*paths, "")[1:], strict=True):
        if not names:
            directory = posixpath.dirname(path)
            lines.append(printable(directory))
        names.append(posixpath.basename(path))
        # systemctl's own test: a path that begins with the directory's name goes on the same line.
        if not following.startswith(directory):
            lines.append("└─" + printable(", ".join(names)))
            names = []
    return "\n".join(lines)


def changed_usec(unit: Unit) -> int:
    """Since when the unit is in its state, in microseconds; 0: it never was in another."""
    match unit.active_state:
        case "active" | "reloading" | "refreshing":
            return unit.active_enter_usec
        case "inactive" | "failed":
            return unit.inactive_enter_usec
        case "activating":
            return unit.inactive_exit_usec
        case _:
            return unit.active_exit_usec


def state(unit: Unit) -> str:
    """`active (running)`, `failed (Result: exit-code)`: the first half of `active`."""
    text = unit.active_state
    if unit.sub_state and unit.sub_state != unit.active_state:
        text += f" ({unit.sub_state})"
    if unit.freezer_state not in {"", "running"}:
        text += f" ({unit.freezer_state})"
    if unit.result not in {"", "success"}:
        text += f" (Result: {unit.result})"
    return printable(text)


def active(unit: Unit, moment: Moment) -> str:
    """`active (running) since Fri 2021-03-05 13:38:11 PST; 1 day 21h ago`."""
    since = changed_usec(unit)
    if not is_set(since):
        return state(unit)
    return f"{state(unit)} since {when(since, moment)}"


def when(usec: int, moment: Moment) -> str:
    """`Fri 2021-03-05 13:38:11 PST; 1 day 21h ago`."""
    return f"{timestamp(usec, moment.zone)}; {relative(usec, moment.realtime)}"


def docs(unit: Unit) -> str:
    """One URI a line."""
    return "\n".join(printable(uri) for uri in unit.documentation)


def main_pid(unit: Unit, figures: Figures) -> str:
    """`514 (NetworkManager)` while it runs, `514 (code=exited, status=1/FAILURE)` after."""
    if unit.exec_main_pid <= 0 and unit.main_pid <= 0:
        return ""
    number = unit.exec_main_pid or unit.main_pid
    if unit.main_pid > 0:
        command = printable(figures.main_command or unit.main_command)
        return f"{number} ({command})" if command else f"{number}"
    if unit.exec_main_code > 0:
        return f"{number} ({ending(unit.exec_main_code, unit.exec_main_status)})"
    return f"{number}"


def control_pid(unit: Unit, figures: Figures) -> str:
    """`515 (sleep)`: the process of ExecStartPre=, ExecReload= … while it runs."""
    # An ExecStartPre= line that has ended keeps its PID; systemctl does not print it twice.
    if unit.control_pid <= 0 or any(e.code and e.pid == unit.control_pid for e in unit.execs):
        return ""
    command = printable(figures.control_command or unit.control_command)
    return f"{unit.control_pid} ({command})" if command else f"{unit.control_pid}"


def pid(unit: Unit, figures: Figures) -> str:
    """What follows `Main PID:` (or `Cntrl PID:`, where there is no main process)."""
    main, control = main_pid(unit, figures), control_pid(unit, figures)
    return f"{main}; Control PID: {control}" if main and control else main or control


def tasks(unit: Unit, figures: Figures) -> str:
    """`3 (limit: 77070)`."""
    if figures.tasks is None:
        return ""
    limit = "" if unit.tasks_max is None else f" (limit: {unit.tasks_max})"
    return f"{figures.tasks}{limit}"


def cgroup(unit: Unit) -> str:
    """The path alone, `/system.slice/x.service`."""
    return printable(unit.control_group)


def memory(unit: Unit, figures: Figures) -> str:
    """`17.5M (high: 1.0G max: 2.0G available: 1006.4M)`, and of later releases `17.5M (max: 2G,
    peak: 18.1M)`.
    """
    if figures.memory is None:
        return ""
    words = list(_words(unit, figures) if unit.release >= _PEAKS else _first_words(unit, figures))
    between = ", " if unit.release >= _COMMAS else " "
    return size(figures.memory, unit.release) + (f" ({between.join(words)})" if words else "")


def peak(unit: Unit, figures: Figures) -> str:
    """`18.1M (swap: 1M)` of a unit whose memory is not counted any more."""
    if figures.memory is not None or figures.memory_peak is None or unit.release < _PEAKS:
        return ""
    swap = figures.memory_swap_peak
    return size(figures.memory_peak, unit.release) + (
        f" (swap: {size(swap, unit.release)})" if swap else ""
    )


def _first_words(unit: Unit, figures: Figures) -> Iterator[str]:
    for word, count in (("min", unit.memory_min), ("low", unit.memory_low)):
        if count != 0:
            yield f"{word}: {protection(count, unit.release)}"
    for word, count in (
        ("high", unit.memory_high),
        ("max", unit.memory_max),
        ("swap max", unit.memory_swap_max),
        ("limit", unit.memory_limit),
        ("available", figures.memory_available),
    ):
        if count is not None:
            yield f"{word}: {size(count, unit.release)}"


def _words(unit: Unit, figures: Figures) -> Iterator[str]:
    release = unit.release
    for word, count in (
        ("min", unit.memory_min),
        ("low", unit.memory_low),
        ("low (startup)", unit.startup_memory_low),
    ):
        if count != 0:
            yield f"{word}: {protection(count, release)}"
    limited = unit.memory_high is not None or unit.memory_max is not None
    for word, count in (
        ("high", unit.memory_high),
        ("high (startup)", unit.startup_memory_high),
        ("max", unit.memory_max),
        ("max (startup)", unit.startup_memory_max),
        ("swap max", unit.memory_swap_max),
        ("swap max (startup)", unit.startup_memory_swap_max),
        ("zswap max", unit.memory_zswap_max),
        ("zswap max (startup)", unit.startup_memory_zswap_max),
        ("limit", unit.memory_limit),
        ("available", figures.memory_available if limited else None),
        ("peak", figures.memory_peak),
        ("swap", figures.memory_swap if figures.memory_swap_peak else None),
        ("swap peak", figures.memory_swap_peak or None),
        ("zswap", figures.memory_zswap or None),
    ):
        if count is not None:
            yield f"{word}: {size(count, release)}"
