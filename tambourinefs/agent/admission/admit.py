"""Whether this host accepts a manifest, and what follows: `admit`, a pure function.

It checks in this order; the first check that fails is the reason of the condition Accepted:

1. the manifest can be read from the silo: SiloUnavailable
2. it is valid: InvalidManifest
3. this host's configuration allows it (policy.py): NamespaceNotAllowed, DeniedByPolicy
4. it does not rename the unit of an applied service: InvalidManifest
5. no other manifest owns a name that it claims (conflicts.py): NameConflict
6. the names that the unit has on this host are allowed, too (policy.py): DeniedByPolicy
7. the host check passed (check.py): ForeignUnit, PayloadMissing, VerifyFailed
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from tambourinefs.agent.admission import conflicts, fieldpath, policy
from tambourinefs.agent.admission.policy import Policy
from tambourinefs.agent.host.content import Content, content_of
from tambourinefs.model.status import FALSE, TRUE, UNKNOWN, ConditionState

if TYPE_CHECKING:
    from tambourinefs.agent.silo.scan import Entry
    from tambourinefs.agent.state.record import Claim, Original, Record
    from tambourinefs.model.manifest import Manifest
    from tambourinefs.model.names import NamespacedName

ACCEPTED: Final = ConditionState(TRUE, "Accepted")


@dataclass(frozen=True, slots=True)
class Reading:
    """What a manifest means by itself; made once for each version of its file."""

    entry: Entry
    refused: ConditionState | None  # by this host's configuration
    claims: tuple[Claim, ...]
    content: Content

    @property
    def competes(self) -> bool:
        """Whether it claims its names on this host."""
        manifest = self.entry.manifest
        return manifest is not None and manifest.spec.state == "installed" and self.refused is None


def read(entry: Entry, rules: Policy) -> Reading:
    """The reading of one manifest."""
    manifest = entry.manifest
    if manifest is None:
        return Reading(entry, None, (), Content((), ""))
    return Reading(
        entry, policy.refusal(manifest, rules), conflicts.claims(manifest), content_of(manifest)
    )


@dataclass(frozen=True, slots=True)
class Want:
    """An accepted manifest."""

    manifest: Manifest
    content: Content
    claims: tuple[Claim, ...]
    silo: str  # UUID

    @property
    def unit(self) -> str:
        """The unit's full name."""
        return self.manifest.spec.unit_name


@dataclass(frozen=True, slots=True)
class Absent:
    """The service is to be removed: its manifest was deleted from the silo (`deleted`), or says
    `state: absent`.
    """

    deleted: bool


@dataclass(frozen=True, slots=True)
class HostCheck:
    """What check.py found on the host for one content. `digest` is that content's."""

    digest: str
    accepted: ConditionState
    failure: str = ""  # why the host cannot hold it although it is accepted
    adopted: bool = False  # the unit file is there as the agent would write it: its state was lost
    originals: Mapping[str, Original] = field(default_factory=dict)  # path -> what is there
    directories: tuple[str, ...] = ()  # to be made, outermost first

    @property
    def passed(self) -> bool:
        """Whether the content can be written."""
        return self.accepted.status == TRUE and not self.failure


@dataclass(frozen=True, slots=True)
class HostFacts:
    """What admission of one manifest needs to know of this host."""

    policy: Policy
    silo: str  # UUID
    owners: Mapping[Claim, NamespacedName]
    unit_names: tuple[str, ...] = ()  # that the manifest's unit has here, aliases included
    unreadable: str = ""  # why the manifest cannot be read
    check: HostCheck | None = None  # the latest


@dataclass(frozen=True, slots=True)
class Admission:
    """The condition Accepted, and what follows. Neither `want` nor `absent`: the host stays as it
    is. `check`: the host check that it rests on; None: `want` was not checked yet.
    """

    accepted: ConditionState
    want: Want | None = None
    absent: Absent | None = None
    check: HostCheck | None = None


def admit(reading: Reading | None, record: Record | None, host: HostFacts) -> Admission:
    """Admit a manifest, or its absence (`reading` None), on a host with this applied state."""
    if host.unreadable:
        return Admission(ConditionState(UNKNOWN, "SiloUnavailable", host.unreadable))
    if reading is None:
        kept = _kept(record, host) if record is not None else None
        return Admission(kept) if kept else Admission(ACCEPTED, absent=Absent(deleted=True))
    manifest = reading.entry.manifest
    if manifest is None:
        return Admission(ConditionState(FALSE, "InvalidManifest", reading.entry.error))
    if reading.refused is not None:
        return Admission(reading.refused)
    if manifest.spec.state == "absent":
        return Admission(ACCEPTED, absent=Absent(deleted=False))
    refused = (
        _renamed(reading.entry.uid, manifest, record)
        or _conflict(reading, manifest, host.owners)
        or policy.alias_refusal(manifest.spec, host.unit_names, host.policy)
    )
    if refused is not None:
        return Admission(refused)
    want = Want(manifest, reading.content, reading.claims, host.silo)
    check = host.check
    if check is None or check.digest != want.content.digest:
        return Admission(ACCEPTED, want)
    if check.accepted.status != TRUE:
        return Admission(check.accepted, check=check)
    return Admission(check.accepted, want, check=check)


def _kept(record: Record, host: HostFacts) -> ConditionState | None:
    """Why a service stays although its manifest is not in the silo; None: it is to be removed."""
    if record.removing:
        return None
    if not policy.allows(host.policy, record.namespace):
        message = (
            f"the manifest is gone, but namespace {record.namespace} is not allowed on this host:"
            " the service is kept"
        )
        return ConditionState(FALSE, policy.NOT_ALLOWED, message)
    if record.silo != host.silo:
        message = (
            "the manifest came from another silo, which was replaced:"
            " the service is kept until its manifest is in this one"
        )
        return ConditionState(FALSE, "InvalidManifest", message)
    return None


def _renamed(uid: str, manifest: Manifest, record: Record | None) -> ConditionState | None:
    if record is None or not record.applied or record.removing or not uid or record.uid != uid:
        return None
    if record.unit == manifest.spec.unit_name:
        return None
    message = f"{fieldpath.NAME}: is immutable, was {record.unit}: delete the manifest and create it again"
    return ConditionState(FALSE, "InvalidManifest", message)


def _conflict(
    reading: Reading, manifest: Manifest, owners: Mapping[Claim, NamespacedName]
) -> ConditionState | None:
    lost = conflicts.conflict(reading.entry.key, reading.claims, owners)
    if lost is None:
        return None
    claim, (namespace, name) = lost
    message = f"{claim} belongs to {namespace}/{name} on this host"
    field_path = fieldpath.of_claim(manifest.spec, claim)
    return ConditionState(FALSE, "NameConflict", fieldpath.at(field_path, message))


def needs_check(want: Want, record: Record | None) -> bool:
    """Whether the host has to be checked before anything is written."""
    if record is None or record.intent is not None:
        return True
    return record.content != want.content.digest or record.claims != want.claims


def is_checked(admission: Admission, record: Record | None) -> bool:
    """Whether an admission's `want` may be applied now: it passed the host check, or needs none."""
    assert admission.want is not None
    return admission.check is not None or not needs_check(admission.want, record)
