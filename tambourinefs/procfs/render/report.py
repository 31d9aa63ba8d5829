"""`status.json`: the content of `status`, typed, for programs. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from tambourinefs.model.names import printable
from tambourinefs.model.status import Condition, LastCommand, StatusReport
from tambourinefs.model.view import ServiceView
from tambourinefs.procfs.render import values
from tambourinefs.procfs.render.times import rfc3339
from tambourinefs.procfs.render.values import memory

if TYPE_CHECKING:
    from tambourinefs.model.unit import Unit
    from tambourinefs.procfs.render.figures import Figures
    from tambourinefs.procfs.render.times import Moment

_encoder = msgspec.json.Encoder()


def report(view: ServiceView, figures: Figures, moment: Moment) -> StatusReport:
    """The report of one service. Without a unit the unit's fields keep their empty defaults."""
    empty = StatusReport(
        namespace=view.namespace,
        name=view.name,
        unit=printable(view.unit_name),
        uid=printable(view.uid),
        generation=view.generation,
        observed_generation=view.observed_generation,
        reason=printable(view.reason),
        managed=view.managed,
        conditions=tuple(_condition(c) for c in view.conditions),
        last_command=view.last_command and _command(view.last_command),
    )
    return empty if view.unit is None else _with_unit(empty, view.unit, figures, moment)


def _with_unit(empty: StatusReport, unit: Unit, figures: Figures, moment: Moment) -> StatusReport:
    return msgspec.structs.replace(
        empty,
        systemd_name=values.systemd_name(unit),
        loaded=values.loaded(unit),
        drop_in=values.drop_in(unit),
        active=values.active(unit, moment),
        docs=values.docs(unit),
        pid=values.pid(unit, figures),
        tasks=values.tasks(unit, figures),
        memory=memory(unit, figures),
        cgroup=values.cgroup(unit),
        load_state=printable(unit.load_state),
        active_state=printable(unit.active_state),
        sub_state=printable(unit.sub_state),
        result=printable(unit.result),
        since=rfc3339(values.changed_usec(unit)),
        unit_file_state=printable(unit.unit_file_state),
        main_pid=unit.main_pid,
        tasks_current=figures.tasks,
        memory_current=figures.memory,
        invocation_id=printable(unit.invocation_id),
        n_restarts=unit.n_restarts,
    )


def _condition(condition: Condition) -> Condition:
    return msgspec.structs.replace(
        condition, reason=printable(condition.reason), message=printable(condition.message)
    )


def _command(command: LastCommand) -> LastCommand:
    return msgspec.structs.replace(
        command, command_id=printable(command.command_id), message=printable(command.message)
    )


def to_json(one: StatusReport) -> bytes:
    """One object, indented, ending in a newline."""
    return msgspec.json.format(_encoder.encode(one), indent=2) + b"\n"


def to_json_line(one: StatusReport) -> bytes:
    """One object on one line, without a newline: an element of `services.json`."""
    return _encoder.encode(one)
