"""What a Tambourine on this host looks like to the agent; it travels inside the agent's process (agent -> procfs)."""

from __future__ import annotations

from dataclasses import dataclass

from tambourinefs.model.status import Condition, LastCommand
from tambourinefs.model.unit import Unit


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
