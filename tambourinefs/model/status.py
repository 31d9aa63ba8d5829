"""The published status of a Tambourine on this host.

`StatusReport` is the format of `<namespace>/<name>/status.json`, which `tambourine get`, sync and
other programs read. The agent's own view is in view.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable

ACCEPTED = "Accepted"
APPLIED = "Applied"
READY = "Ready"
# The command, before the UUID, in the message of SiloUnavailable for a replaced silo.
ACCEPT_SILO = "tambourine agent --accept-silo"


TRUE: Final = "True"
FALSE: Final = "False"
UNKNOWN: Final = "Unknown"


@dataclass(frozen=True, slots=True)
class ConditionState:
    """A condition before it has a type, a generation and a time."""

    status: str
    reason: str
    message: str = ""


class Condition(msgspec.Struct, frozen=True, rename="camel"):
    """A condition as in the Kubernetes API conventions: `status` is "True", "False" or "Unknown"."""

    type: str
    status: str
    reason: str  # CamelCase, for programs
    message: str  # for people; no file contents, no log lines
    observed_generation: int
    last_transition_time: str  # RFC 3339, UTC, seconds


def condition_of(conditions: Iterable[Condition], kind: str) -> Condition | None:
    """The one of that type, or None."""
    return next((c for c in conditions if c.type == kind), None)


class LastCommand(msgspec.Struct, frozen=True, rename="camel"):
    """The last command. `result` is "done", "failed", "running", "unknown" or "skipped"."""

    command: str
    command_id: str = msgspec.field(name="commandID", default="")
    result: str = ""
    message: str = ""
    time: str = ""  # RFC 3339, UTC
    invocation_id: str = msgspec.field(name="invocationID", default="")


class StatusReport(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """`status.json`: the nine values as systemctl prints them, then the typed ones."""

    namespace: str
    name: str
    unit: str = ""
    uid: str = ""
    generation: int = 0
    observed_generation: int = 0
    systemd_name: str = msgspec.field(name="systemdName", default="")
    loaded: str = ""
    drop_in: str = msgspec.field(name="drop-in", default="")
    active: str = ""  # with the age; `since` is the date alone
    docs: str = ""
    pid: str = ""
    tasks: str = ""
    memory: str = ""
    cgroup: str = ""
    load_state: str = ""
    active_state: str = ""
    sub_state: str = ""
    result: str = ""
    since: str = ""  # RFC 3339, UTC; "" when the unit never changed state
    unit_file_state: str = ""
    main_pid: int = 0
    tasks_current: int | None = None
    memory_current: int | None = None  # bytes
    invocation_id: str = msgspec.field(name="invocationID", default="")
    n_restarts: int = 0
    reason: str = ""
    managed: bool = False
    conditions: tuple[Condition, ...] = ()
    last_command: LastCommand | None = None

    def condition(self, kind: str) -> Condition | None:
        """The condition of that type, or None."""
        return condition_of(self.conditions, kind)
