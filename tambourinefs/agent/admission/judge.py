"""Whether this host does what a manifest says, step by step: valid, allowed, its names free. Pure.

What needs a look at the host (verify, files that are not ours, payload) is check.py's; here is what
data alone says.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tambourinefs.agent.admission import conflicts, fieldpath, policy
from tambourinefs.agent.host.content import Content, content_of
from tambourinefs.agent.planning.plan import Gone, Want
from tambourinefs.agent.status.conditions import FALSE, TRUE, Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tambourinefs.agent.admission.policy import Policy, Refusal
    from tambourinefs.agent.silo.scan import Entry
    from tambourinefs.agent.state.record import Claim, Record
    from tambourinefs.model.names import NamespacedName

ACCEPTED = Verdict(TRUE, "Accepted")


@dataclass(frozen=True, slots=True)
class Reading:
    """What a manifest means before anybody else's is looked at; made once for each that is read."""

    entry: Entry
    refused: Refusal | None
    claims: tuple[Claim, ...]
    content: Content

    @property
    def competes(self) -> bool:
        """Whether it wants its names on this host."""
        manifest = self.entry.manifest
        return manifest is not None and manifest.spec.state == "installed" and self.refused is None


def read(entry: Entry, rules: Policy) -> Reading:
    """The reading of one manifest."""
    if entry.manifest is None:
        return Reading(entry, None, (), Content((), ""))
    manifest = entry.manifest
    return Reading(
        entry,
        policy.refusal(manifest, rules),
        conflicts.claims(manifest),
        content_of(manifest),
    )


@dataclass(frozen=True, slots=True)
class Judgement:
    """What follows for a service. Neither `want` nor `gone`: nothing is done about it, whatever is
    on the host stays.
    """

    accepted: Verdict
    want: Want | None = None
    gone: Gone | None = None


def judge(
    reading: Reading, record: Record | None, taken: Mapping[Claim, NamespacedName], silo: str
) -> Judgement:
    """What a manifest means for this host, where `taken` says who has which name."""
    entry, refused = reading.entry, reading.refused
    if entry.manifest is None:
        return Judgement(Verdict(FALSE, "InvalidManifest", entry.error))
    manifest, spec = entry.manifest, entry.manifest.spec
    if refused is not None:
        return Judgement(Verdict(FALSE, refused.reason, refused.message))
    if spec.state == "absent":
        return Judgement(ACCEPTED, gone=Gone(deleted=False))
    if record is not None and _is_renamed(record, entry.uid, spec.unit_name):
        message = (
            f"spec.name is immutable: it was {record.unit}; delete the manifest and make a new one"
        )
        return Judgement(Verdict(FALSE, "InvalidManifest", message))
    lost = conflicts.conflict(entry.key, reading.claims, taken)
    if lost is not None:
        claim, owner = lost
        said = f"{claim} belongs to {owner[0]}/{owner[1]} on this host"
        message = fieldpath.at(fieldpath.of_claim(spec, claim), said)
        return Judgement(Verdict(FALSE, "NameConflict", message))
    return Judgement(ACCEPTED, want=Want(manifest, reading.content, reading.claims, silo))


def _is_renamed(record: Record, uid: str, unit: str) -> bool:
    same_object = record.uid == uid != "" and record.applied and not record.removing
    return same_object and record.unit != unit


def judge_missing(record: Record, rules: Policy, silo: str) -> Judgement | None:
    """What it means that a record's manifest is not in the silo `silo`; None: it is an order to
    remove what we made.

    Not so in a silo that never held it (the store was replaced), and not where the namespace is
    respected no more.
    """
    if record.removing:
        return None
    if not policy.allows(rules, record.namespace):
        message = f"its manifest is gone, and this host does not respect namespace {record.namespace}: it is kept"
        return Judgement(Verdict(FALSE, policy.NOT_ALLOWED, message))
    if record.silo != silo:
        message = "it came from another silo, which was replaced: it is kept until its manifest is seen here"
        return Judgement(Verdict(FALSE, "InvalidManifest", message))
    return None


def needs_check(want: Want, record: Record | None) -> bool:
    """Whether the host has to be looked at before anything is written."""
    if record is None or record.intent is not None:
        return True
    return record.content != want.content.digest or record.claims != want.claims
