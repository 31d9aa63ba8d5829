"""What is published of a service, made from all that the agent knows of it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tambourinefs.agent.status import reasons
from tambourinefs.agent.status.conditions import Facts, Verdict, conditions
from tambourinefs.model import names
from tambourinefs.model.view import ServiceView

if TYPE_CHECKING:
    from tambourinefs.agent.silo.scan import Entry
    from tambourinefs.agent.state.record import Record
    from tambourinefs.model.names import NamespacedName
    from tambourinefs.model.unit import Unit


@dataclass(frozen=True, slots=True)
class Known:
    """Everything about one service at one moment."""

    key: NamespacedName
    entry: Entry | None
    record: Record | None
    unit: Unit | None
    accepted: Verdict
    boot: str
    digest: str = ""  # of the content that the manifest wants
    failure: str = ""
    changed_by_hand: str = ""
    silo: str = ""  # why it is unavailable
    connected: bool = True
    journal: tuple[str, ...] = ()


def unit_name(entry: Entry | None, record: Record | None) -> str:
    """The unit that a service is about; "" when the manifest is too broken to tell and nothing is
    applied.
    """
    if entry is not None and entry.manifest is not None:
        return entry.manifest.spec.unit_name
    return record.unit if record is not None else ""


def view(known: Known, before: ServiceView | None, now: str) -> ServiceView:
    """The view; `before` is the one published last, whose times are kept where nothing changed."""
    entry, record = known.entry, known.record
    generation = entry.generation if entry is not None else (record.generation if record else 0)
    facts = Facts(
        accepted=known.accepted,
        spec=entry.manifest.spec if entry is not None and entry.manifest is not None else None,
        generation=generation,
        record=record,
        unit=known.unit,
        boot=known.boot,
        connected=known.connected,
        silo=known.silo,
        failure=known.failure,
        changed_by_hand=known.changed_by_hand,
        digest=known.digest,
    )
    return ServiceView(
        namespace=known.key[0],
        name=known.key[1],
        unit_name=unit_name(entry, record),
        uid=entry.uid if entry is not None else (record.uid if record else ""),
        generation=generation,
        observed_generation=generation,
        unit=known.unit,
        conditions=conditions(facts, before.conditions if before else (), now),
        last_command=record.last_command if record is not None else None,
        manifest=entry.data if entry is not None else b"",
        journal=known.journal,
        reason=names.printable(_reason(known.unit)),
        managed=record is not None and record.owns_unit,
    )


def _reason(unit: Unit | None) -> str:
    if unit is None:
        return ""
    return reasons.failure(unit) or (reasons.unmet(unit) if unit.active_state == "inactive" else "")
