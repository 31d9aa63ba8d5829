"""The view of a service that is published, made from its state. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tambourinefs.agent.status import reasons
from tambourinefs.agent.status.conditions import ServiceState, conditions
from tambourinefs.model import names
from tambourinefs.model.view import ServiceView

if TYPE_CHECKING:
    from tambourinefs.agent.silo.scan import Entry
    from tambourinefs.agent.state.record import Record
    from tambourinefs.model.unit import Unit


def unit_name(entry: Entry | None, record: Record | None) -> str:
    """The unit of a service; "" when the manifest is invalid and nothing is applied."""
    if entry is not None and entry.manifest is not None:
        return entry.manifest.spec.unit_name
    return record.unit if record is not None else ""


def view(state: ServiceState, before: ServiceView | None, now: str) -> ServiceView:
    """The view; `before` is the one published last, whose times are kept where nothing changed."""
    entry, record = state.entry, state.record
    return ServiceView(
        namespace=state.key[0],
        name=state.key[1],
        unit_name=unit_name(entry, record),
        uid=entry.uid if entry is not None else (record.uid if record else ""),
        generation=state.generation,
        observed_generation=state.generation,
        unit=state.unit,
        conditions=conditions(state, before.conditions if before else (), now),
        last_command=record.last_command if record is not None else None,
        manifest=entry.data if entry is not None else b"",
        journal=state.journal,
        reason=names.printable(_reason(state.unit)),
        managed=record is not None and record.owns_unit,
    )


def _reason(unit: Unit | None) -> str:
    if unit is None:
        return ""
    return reasons.failure(unit) or (reasons.unmet(unit) if unit.active_state == "inactive" else "")
