"""What a plan is made from, and the actions that it gives. Pure values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tambourinefs.model.names import NamespacedName

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from tambourinefs.agent.admission.admit import Absent, Want
    from tambourinefs.agent.state.record import Enablement, Record, Token
    from tambourinefs.model.unit import Unit


@dataclass(frozen=True, slots=True)
class Action:
    """One thing to do for one service."""

    key: NamespacedName


@dataclass(frozen=True, slots=True)
class Place(Action):
    """Write the manifest's files and remove those it no longer has. `due` is what a running unit needs
    after it: "restart", "reload" or "".
    """

    want: Want
    due: str


@dataclass(frozen=True, slots=True)
class Enable(Action):
    """Enable or disable the unit; not `needed`: record it alone. `before` is the UnitFileState of a unit
    that another owner has, else "". `relink`: its [Install] was edited while it is enabled, and
    enabling alone would leave the old links.
    """

    unit: str
    enablement: Enablement
    before: str
    needed: bool
    relink: bool = False


@dataclass(frozen=True, slots=True)
class Reload(Action):
    """daemon-reload; once for a batch."""


@dataclass(frozen=True, slots=True)
class Note(Action):
    """Change the record alone."""

    record: Record


@dataclass(frozen=True, slots=True)
class Job(Action):
    """Have systemd do `verb`. With `token` this carries out a one-shot command."""

    unit: str
    verb: str  # start | stop | restart | reload
    uid: str = ""
    generation: int = 0
    token: Token | None = None
    command: str = ""  # spec.command; "" when changed content alone asks for the job
    command_id: str = ""
    reset_failed: bool = False  # it failed before: reset that, and systemd's start limit, first


@dataclass(frozen=True, slots=True)
class Recover(Action):
    """A job is recorded that the agent does not wait for: it was killed, or lost the bus. Find out what
    became of the job.
    """


@dataclass(frozen=True, slots=True)
class Withdraw(Action):
    """Disable the unit, restore what was at each path before, reload, reset the failed state, delete
    the record.
    """

    unit: str
    owned: bool
    loaded: bool


@dataclass(frozen=True, slots=True)
class Forget(Action):
    """Delete the record and leave the host as it is (deletionPolicy: orphan)."""


@dataclass(frozen=True, slots=True)
class PlanInput:
    """What a plan is made from. A service in neither `wants` nor `absent` is left alone: refused, or not
    known.
    """

    wants: Mapping[NamespacedName, Want]
    absent: Mapping[NamespacedName, Absent]
    applied: Mapping[NamespacedName, Record]
    units: Mapping[str, Unit]
    boot: str
    running: Collection[NamespacedName] = frozenset()  # services whose recorded job is waited for
