"""What changed between two views of a service, as the texts of `events.log`. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tambourinefs.model.names import printable
from tambourinefs.procfs import values

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tambourinefs.model.status import LastCommand
    from tambourinefs.model.view import ServiceView

_MAX_TEXT: Final = 512  # characters of one event


def changes(old: ServiceView | None, new: ServiceView | None) -> Iterator[str]:
    """One text a change, `WHAT OLD -> NEW`, oldest cause first; nothing where no reader of states would care."""
    if new is None:
        yield "removed"
        return
    if old is None:
        yield "added"
    before, after = _facts(old) if old else {}, _facts(new)
    for fact in {**before, **after}:
        was, now = before.get(fact, ""), after.get(fact, "")
        if was != now:
            yield printable(f"{fact} {was or '-'} -> {now or '-'}")[:_MAX_TEXT]


def _facts(view: ServiceView) -> dict[str, str]:
    """What is worth an event, by name. Ages, numbers and log lines are not."""
    facts = {
        "generation": f"{view.generation}",
        "observed-generation": f"{view.observed_generation}",
    }
    if view.unit is not None:
        facts |= {
            "loaded": values.loaded(view.unit),
            "active": values.state(view.unit),
            "pid": f"{view.unit.main_pid}" if view.unit.main_pid else "",
            "restarts": f"{view.unit.n_restarts}" if view.unit.n_restarts else "",
        }
    for condition in view.conditions:
        facts[condition.type] = f"{condition.status} {condition.reason}"
    facts["command"] = _command(view.last_command)
    return facts


def _command(command: LastCommand | None) -> str:
    return f"{command.command} {command.command_id} {command.result}".strip() if command else ""
