"""The agent's view of a Tambourine, which procfs renders."""

from __future__ import annotations

from dataclasses import dataclass

from tambourinefs.model.status import Condition, LastCommand
from tambourinefs.model.unit import Unit


@dataclass(frozen=True, slots=True)
class ServiceView:
    """All that the agent knows of a Tambourine."""

    namespace: str
    name: str
    unit_name: str  # full; "" if the manifest is invalid
    uid: str = ""
    generation: int = 0
    observed_generation: int = 0
    unit: Unit | None = None  # None: not known yet, or denied
    conditions: tuple[Condition, ...] = ()
    last_command: LastCommand | None = None
    manifest: bytes = b""  # the bytes that were read from the silo
    journal: tuple[str, ...] = ()  # the last lines of this invocation, oldest first
    reason: str = ""  # why it failed, one line
    managed: bool = False  # the unit file is managed by Tambourine
