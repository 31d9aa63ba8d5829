"""What of a new status is worth an event: pure, of the status before and after, as they are on the wire."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

TOLD: Final = ("Accepted", "Ready")  # Applied is told by one of them
PASSING: Final = frozenset({"Progressing", "Applying", "Starting", "Stopping", "NotApplied"})


@dataclass(frozen=True, slots=True)
class News:
    """One event's worth."""

    kind: Literal["Normal", "Warning"]
    reason: str
    note: str


def of_conditions(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[News]:
    """Each condition whose status or reason changed, but for what passes by itself."""
    old = {item["type"]: item for item in before.get("conditions") or ()}
    found = []
    for item in after.get("conditions") or ():
        was, reason = old.get(item["type"], {}), item["reason"]
        same = was.get("status") == item["status"] and was.get("reason") == reason
        if item["type"] not in TOLD or same or reason in PASSING:
            continue
        if item["type"] == "Accepted" and item["status"] == "True":
            continue  # the rule; Ready tells of it
        kind: Literal["Normal", "Warning"] = "Normal" if item["status"] == "True" else "Warning"
        found.append(News(kind, reason, item.get("message") or reason))
    return found


def of_command(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[News]:
    """A command that was carried out, or was not."""
    old, new = before.get("lastCommand") or {}, after.get("lastCommand") or {}
    result = new.get("result")
    if new == old or result not in {"done", "failed", "unknown"}:
        return []
    said = f"{new.get('command')}: {result}"
    if new.get("commandID"):
        said = f"{new['command']} ({new['commandID']}): {result}"
    if new.get("message"):
        said += f": {new['message']}"
    return [
        News("Normal" if result == "done" else "Warning", f"Command{result.capitalize()}", said)
    ]
