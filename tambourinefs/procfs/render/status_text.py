"""The file `status`: what `systemctl status` prints of a unit, without its journal lines, and why
it failed. Pure.

Source: print_status_info() of systemd 252 and 257 (src/systemctl/systemctl-show.c), whose order and
columns this follows line by line, in the words of the release that runs here.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from tambourinefs.model.names import printable
from tambourinefs.procfs.render import values
from tambourinefs.procfs.render.formats import ending, size
from tambourinefs.procfs.render.process_tree import process_tree
from tambourinefs.procfs.render.times import MSEC, SECOND, is_set, next_elapse, timespan
from tambourinefs.procfs.render.values import memory, peak

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tambourinefs.model.unit import Exec, Unit, UnitCondition
    from tambourinefs.model.view import ServiceView
    from tambourinefs.procfs.render.figures import Figures
    from tambourinefs.procfs.render.times import Moment

_LABEL: Final = 11  # columns before the colon
# Releases since which systemctl says so.
_UNMET: Final = (
    254  # "condition unmet"; what a service says went wrong, by more than a number; FD Store
)
_RUNS: Final = 257  # job and invocation
_INDENT: Final = " " * 13
# systemctl does not print those of mounts and swaps.
_EXECS_SHOWN: Final = frozenset(
    f"Exec{name}"
    for name in (
        "Condition",
        "StartPre",
        "Start",
        "StartPost",
        "Reload",
        "StopPre",
        "Stop",
        "StopPost",
    )
)
_GLYPHS: Final = {
    "reloading": "↻",
    "refreshing": "↻",
    "inactive": "○",
    "failed": "\u00d7",
    "maintenance": "○",
}


def glyph(active_state: str) -> str:
    """The mark before a unit's name (unit_active_state_to_glyph())."""
    return _GLYPHS.get(active_state, "●")


def status_text(view: ServiceView, figures: Figures, moment: Moment) -> str:
    """The whole file, ending in a newline."""
    lines = _unit_lines(view, figures, moment) if view.unit else _unknown(view)
    if view.reason:
        lines.append(_line("Reason", printable(view.reason)))
    return "\n".join(lines) + "\n"


def _unknown(view: ServiceView) -> list[str]:
    """A service whose unit was not read: refused, or not yet."""
    lines = [f"○ {printable(view.unit_name or f'{view.namespace}/{view.name}')}"]
    lines += [
        _line(
            c.type, printable(f"{c.status} ({c.reason})" + (f": {c.message}" if c.message else ""))
        )
        for c in view.conditions
    ]
    return lines


def _unit_lines(view: ServiceView, figures: Figures, moment: Moment) -> list[str]:
    unit = view.unit
    assert unit is not None
    # An error without a name is the agent's: systemd did not answer for the unit.
    asked = bool(unit.load_error[0] or not unit.load_error[1])
    if unit.load_state == "not-found" and unit.active_state == "inactive" and asked:
        return [f"Unit {printable(unit.name)} could not be found."]
    return [
        f"{glyph(unit.active_state)} {values.systemd_name(unit)}",
        *_load_lines(unit),
        *_active_lines(unit, moment),
        *_run_lines(unit),
        *_relations(unit, moment),
        *_checks(unit, moment),
        *_places(unit),
        *_process_lines(unit, figures),
        *_accounting(unit, figures),
        *_cgroup_lines(unit, figures),
        *_warnings(unit),
    ]


def _line(label: str, text: str) -> str:
    return f"{label:>{_LABEL}}: {text}"


def _lines(label: str, texts: list[str]) -> Iterator[str]:
    """The label once, the rest below the first."""
    for place, text in enumerate(texts):
        yield _line(label, text) if place == 0 else _INDENT + text


def _load_lines(unit: Unit) -> Iterator[str]:
    if unit.following:
        yield _line("Follows", f"unit currently follows state of {printable(unit.following)}")
    yield _line("Loaded", values.loaded(unit))
    if unit.transient:
        yield _line("Transient", "yes")
    if unit.drop_in_paths:
        yield from _lines("Drop-In", values.drop_in(unit).split("\n"))


def _active_lines(unit: Unit, moment: Moment) -> Iterator[str]:
    yield _line("Active", values.active(unit, moment))
    since = values.changed_usec(unit)
    if not is_set(since):
        return
    if unit.active_state == "active" and is_set(unit.runtime_max_usec):
        assert unit.runtime_max_usec is not None
        yield _line("Until", values.when(since + unit.runtime_max_usec, moment))
    ended = unit.active_state in {"inactive", "failed"} and unit.suffix != "target"
    entered, left = unit.active_enter_usec, unit.active_exit_usec
    if ended and is_set(entered) and is_set(left) and left >= entered:
        yield _line("Duration", timespan(left - entered, MSEC))


def _run_lines(unit: Unit) -> Iterator[str]:
    if unit.release < _RUNS:
        return
    if unit.job[0]:
        yield _line("Job", str(unit.job[0]))
    if unit.invocation_id.strip("0"):
        yield _line("Invocation", unit.invocation_id)


def _relations(unit: Unit, moment: Moment) -> Iterator[str]:
    yield from _lines(
        "TriggeredBy", [f"{glyph(state)} {printable(name)}" for name, state in unit.triggered_by]
    )
    if unit.suffix == "timer":
        elapse = next_elapse(
            moment, unit.next_elapse_realtime_usec, unit.next_elapse_monotonic_usec
        )
        yield _line("Trigger", values.when(elapse, moment) if is_set(elapse) else "n/a")
    yield from _lines("Triggers", [f"● {printable(name)}" for name in unit.triggers])


def _checks(unit: Unit, moment: Moment) -> Iterator[str]:
    if not unit.condition_result and unit.condition_usec > 0:
        word = "unmet" if unit.release >= _UNMET else "failed"
        yield _line(
            "Condition", f"start condition {word} at {values.when(unit.condition_usec, moment)}"
        )
        # systemd prepends: the last one in the file comes first.
        unmet = [c for c in reversed(unit.conditions) if c.result < 0]
        for place, condition in enumerate(unmet):
            branch = "├─" if place < len(unmet) - 1 else "└─"
            yield f"{_INDENT}{branch} {_unmet(condition)}"
    if not unit.assert_result and unit.assert_usec > 0:
        yield _line("Assert", f"start assertion failed at {values.when(unit.assert_usec, moment)}")
        yield from _failed_assert(unit.asserts)


def _unmet(condition: UnitCondition) -> str:
    mark = ("|" if condition.trigger else "") + ("!" if condition.negate else "")
    return printable(f"{condition.setting}={mark}{condition.parameter} was not met")


def _failed_assert(asserts: tuple[UnitCondition, ...]) -> Iterator[str]:
    """The last one that failed and is no trigger, else the first trigger (map_asserts() of
    systemctl).
    """
    failed: UnitCondition | None = None
    for check in asserts:
        if check.result < 0 and (not check.trigger or failed is None):
            failed = check
    if failed is None:
        return
    if failed.trigger:
        yield f"{_INDENT}none of the trigger assertions were met"
    else:
        mark = "!" if failed.negate else ""
        yield _INDENT + printable(f"{failed.setting}={mark}{failed.parameter} was not met")


def _places(unit: Unit) -> Iterator[str]:
    for label, text in (("Device", unit.sysfs_path), ("Where", unit.where), ("What", unit.what)):
        if text:
            yield _line(label, printable(text))
    if unit.documentation:
        yield from _lines("Docs", values.docs(unit).split("\n"))
    yield from _lines("Listen", [printable(f"{address} ({kind})") for kind, address in unit.listen])
    if unit.accepted is not None:
        refused = f"   Refused: {unit.refused}" if unit.refused else ""
        yield _line("Accepted", f"{unit.accepted}; Connected: {unit.connections or 0};{refused}")


def _process_lines(unit: Unit, figures: Figures) -> Iterator[str]:
    for process in unit.execs:
        if process.code and process.setting in _EXECS_SHOWN:
            yield _line("Process", _ended(process))
    main, control = values.main_pid(unit, figures), values.control_pid(unit, figures)
    if main:
        yield _line("Main PID", values.pid(unit, figures))
    elif control:
        yield _line("Cntrl PID", control)
    if unit.status_text:
        yield _line("Status", f'"{printable(unit.status_text)}"')
    error = "; ".join(_errors(unit))
    if error:
        yield _line("Error", error)


def _errors(unit: Unit) -> Iterator[str]:
    number = (
        f"{unit.status_errno} ({os.strerror(unit.status_errno)})" if unit.status_errno > 0 else ""
    )
    if unit.release < _UNMET:
        yield from filter(None, [number])
        return
    for word, text in (
        ("code", number),
        ("D-Bus", unit.status_bus_error),
        ("Varlink", unit.status_varlink_error),
    ):
        if text:
            yield printable(f"{word}: {text}")


def _ended(process: Exec) -> str:
    command = printable(" ".join(process.argv))
    return f"{process.pid} {process.setting}={command} ({ending(process.code, process.status)})"


def _accounting(unit: Unit, figures: Figures) -> Iterator[str]:
    if unit.ip_ingress_bytes is not None and unit.ip_egress_bytes is not None:
        came, went = (size(n, unit.release) for n in (unit.ip_ingress_bytes, unit.ip_egress_bytes))
        yield _line("IP", f"{came} in, {went} out")
    if unit.io_read_bytes is not None and unit.io_write_bytes is not None:
        read, written = (size(n, unit.release) for n in (unit.io_read_bytes, unit.io_write_bytes))
        yield _line("IO", f"{read} read, {written} written")
    kept = unit.release >= _UNMET and (unit.fd_store or unit.fd_store_max)
    for label, text in (
        ("Tasks", values.tasks(unit, figures)),
        ("FD Store", f"{unit.fd_store} (limit: {unit.fd_store_max})" if kept else ""),
        ("Memory", memory(unit, figures)),
        ("Mem peak", peak(unit, figures)),
    ):
        if text:
            yield _line(label, text)
    if figures.cpu_nsec is not None:
        yield _line("CPU", timespan(figures.cpu_nsec // (SECOND // MSEC), MSEC))


def _cgroup_lines(unit: Unit, figures: Figures) -> Iterator[str]:
    if not unit.control_group:
        return
    yield _line("CGroup", values.cgroup(unit))
    tree = process_tree(unit.control_group, figures.processes)
    yield from (_INDENT + line for line in tree)
    if figures.processes_left_out:
        yield f"{_INDENT}… {figures.processes_left_out} more"


def _warnings(unit: Unit) -> Iterator[str]:
    if unit.need_daemon_reload:
        name = printable(unit.id or unit.name)
        yield (
            f"Warning: The unit file, source configuration file or drop-ins of {name} changed on disk."
            " Run 'systemctl daemon-reload' to reload units."
        )
