"""The events that a change of status makes. Pure, from the status before and after as they are on
the wire.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

REPORTED: Final = ("Accepted", "Ready")  # one of them covers Applied
TRANSIENT: Final = frozenset({"Progressing", "Applying", "Starting", "Stopping", "NotApplied"})


@dataclass(frozen=True, slots=True)
class StatusEvent:
    """The type, reason and note of one Event."""

    kind: Literal["Normal", "Warning"]
    reason: str
    note: str


def of_conditions(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[StatusEvent]:
    """One for each condition whose status or reason changed, without transient reasons."""
    old = {item["type"]: item for item in before.get("conditions") or ()}
    found = []
    for item in after.get("conditions") or ():
        was, reason = old.get(item["type"], {}), item["reason"]
        same = was.get("status") == item["status"] and was.get("reason") == reason
        if item["type"] not in REPORTED or same or reason in TRANSIENT:
            continue
        if item["type"] == "Accepted" and item["status"] == "True":
            continue  # the normal case, which Ready covers
        kind: Literal["Normal", "Warning"] = "Normal" if item["status"] == "True" else "Warning"
        found.append(StatusEvent(kind, reason, item.get("message") or reason))
    return found


def of_command(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[StatusEvent]:
    """One for a command that finished."""
    old, new = before.get("lastCommand") or {}, after.get("lastCommand") or {}
    result = new.get("result")
    if new == old or result not in {"done", "failed", "unknown"}:
        return []
    note = f"{new.get('command')}: {result}"
    if new.get("commandID"):
        note = f"{new['command']} ({new['commandID']}): {result}"
    if new.get("message"):
        note += f": {new['message']}"
    kind: Literal["Normal", "Warning"] = "Normal" if result == "done" else "Warning"
    return [StatusEvent(kind, f"Command{result.capitalize()}", note)]
