"""What a Tambourine on this host looks like: the view that the agent makes, and the report that procfs publishes of it.

`ServiceView` travels inside the agent's process (agent -> procfs). `StatusReport` is the wire format of
`<namespace>/<name>/status.json`; `tambourine get`, sync and other programs read it back with msgspec.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable

    # Its hundred fields cost the command line more than everything else of the model does.
    from tambourinefs.model.unit import Unit

ACCEPTED = "Accepted"
APPLIED = "Applied"
READY = "Ready"
# What the message of SiloUnavailable ends with, and the UUID after it, where the silo is another than this host obeys.
ACCEPT_SILO = "tambourine agent --accept-silo"


class Condition(msgspec.Struct, frozen=True, rename="camel"):
    """A condition after the Kubernetes API conventions. `status` is "True", "False" or "Unknown"."""

    type: str
    status: str
    reason: str  # CamelCase, one word, for programs
    message: str  # for people; no file contents, no log lines
    observed_generation: int
    last_transition_time: str  # RFC 3339, UTC, seconds


def condition_of(conditions: Iterable[Condition], kind: str) -> Condition | None:
    """The one of that type, or None."""
    return next((c for c in conditions if c.type == kind), None)


class LastCommand(msgspec.Struct, frozen=True, rename="camel"):
    """The last command that was carried out. `result` is "done", "failed", "running", "unknown" or "skipped"."""

    command: str
    command_id: str = msgspec.field(name="commandID", default="")
    result: str = ""
    message: str = ""
    time: str = ""  # RFC 3339, UTC
    invocation_id: str = msgspec.field(name="invocationID", default="")


@dataclass(frozen=True, slots=True)
class ServiceView:
    """All that the agent knows of one Tambourine; procfs renders it and asks nobody."""

    namespace: str
    name: str
    unit_name: str  # with its suffix; "" when the manifest is too broken to tell
    uid: str = ""
    generation: int = 0
    observed_generation: int = 0
    unit: Unit | None = None  # None: not known (yet), or denied to look at
    conditions: tuple[Condition, ...] = ()
    last_command: LastCommand | None = None
    manifest: bytes = b""  # the bytes that were read from the silo
    journal: tuple[str, ...] = ()  # the last lines of this invocation, oldest first
    reason: str = ""  # why it failed, one line; empty while it has not
    managed: bool = False  # the unit file is ours


class StatusReport(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """`status.json`: the seed's nine values word for word, then the typed ones."""

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
