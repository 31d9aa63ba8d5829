"""Every file of a service's directory: its name, who may read it, when it changes, and its content.
Pure.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Final

from tambourinefs.model.view import ServiceView
from tambourinefs.procfs.render import report, tables, values
from tambourinefs.procfs.render.figures import Figures
from tambourinefs.procfs.render.status_text import status_text
from tambourinefs.procfs.render.times import Moment
from tambourinefs.procfs.render.values import memory

if TYPE_CHECKING:
    from tambourinefs.model.unit import Unit

Render = Callable[[ServiceView, Figures, Moment], bytes]


class Needs(IntEnum):
    """What has to be read from the host just before a rendering; each includes those before."""

    VIEW = 0  # the view and the clock alone
    COMMANDS = 1  # the names of the main and the control process
    NUMBERS = 2  # tasks, memory, CPU
    PROCESSES = 3  # the processes in the control group


@dataclass(frozen=True, slots=True)
class FileSpec:
    """One file. `live`: its content changes without a publish (ages, numbers), so its name is not
    cached.
    """

    name: str
    render: Render
    live: bool = False
    needs: Needs = Needs.VIEW
    mode: int = 0o444
    group: str = "root"


def _line(text: str) -> bytes:
    """A value as a file: the text and a newline; empty where there is no value."""
    return f"{text}\n".encode() if text else b""


def _of_unit(value: Callable[[Unit], str]) -> Render:
    return lambda view, _figures, _moment: _line(value(view.unit)) if view.unit else b""


def _of_figures(value: Callable[[Unit, Figures], str]) -> Render:
    return lambda view, figures, _moment: _line(value(view.unit, figures)) if view.unit else b""


def _active(view: ServiceView, _figures: Figures, moment: Moment) -> bytes:
    return _line(values.active(view.unit, moment)) if view.unit else b""


def _status(view: ServiceView, figures: Figures, moment: Moment) -> bytes:
    return status_text(view, figures, moment).encode()


def _status_json(view: ServiceView, figures: Figures, moment: Moment) -> bytes:
    return report.to_json(report.report(view, figures, moment))


def _of_view(text: Callable[[ServiceView], str]) -> Render:
    return lambda view, _figures, _moment: text(view).encode()


FILES: Final = (
    FileSpec("status", _status, live=True, needs=Needs.PROCESSES),
    FileSpec("status.json", _status_json, live=True, needs=Needs.NUMBERS),
    FileSpec("systemdName", _of_unit(values.systemd_name)),
    FileSpec("loaded", _of_unit(values.loaded)),
    FileSpec("drop-in", _of_unit(values.drop_in)),
    FileSpec("active", _active, live=True),
    FileSpec("docs", _of_unit(values.docs)),
    # Live, because a process may change its name at any time, and does so right after it was
    # started (fork, then exec).
    FileSpec("pid", _of_figures(values.pid), live=True, needs=Needs.COMMANDS),
    FileSpec("tasks", _of_figures(values.tasks), live=True, needs=Needs.NUMBERS),
    FileSpec("memory", _of_figures(memory), live=True, needs=Needs.NUMBERS),
    FileSpec("cgroup", _of_unit(values.cgroup)),
    FileSpec("conditions", _of_view(tables.conditions)),
    FileSpec(
        "journal",
        _of_view(lambda view: tables.journal(view.journal)),
        live=True,
        mode=0o440,
        group="systemd-journal",
    ),
    FileSpec("manifest", lambda view, _f, _m: view.manifest, mode=0o440, group="tambourine"),
    FileSpec("observed-generation", _of_view(lambda view: f"{view.observed_generation}\n")),
    FileSpec("last-command", _of_view(lambda view: tables.last_command(view.last_command))),
)
