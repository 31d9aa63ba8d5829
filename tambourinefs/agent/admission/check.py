"""The host check of accepted manifests: does systemd-analyze verify their units, do their files and
units replace others', is their payload in the silo?

It changes nothing but the copies of originals in applied state. A batch takes one call of
systemd-analyze, one of systemd, one thread.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import trio

from tambourinefs import files
from tambourinefs.agent.admission import fieldpath
from tambourinefs.agent.admission.admit import ACCEPTED, HostCheck
from tambourinefs.agent.admission.findings import Draft, Findings
from tambourinefs.agent.host.content import FILE, Target
from tambourinefs.agent.host.fileops import owner_ids
from tambourinefs.agent.host.files import ORIGINAL_MAX
from tambourinefs.agent.host.payload import PayloadMissing, check_payload
from tambourinefs.errors import HostError
from tambourinefs.model import names
from tambourinefs.model.names import NamespacedName
from tambourinefs.model.status import FALSE, TRUE, UNKNOWN, ConditionState

if TYPE_CHECKING:
    from pathlib import Path

    from tambourinefs.agent.admission.admit import Want
    from tambourinefs.agent.admission.findings import Verifier
    from tambourinefs.agent.host.files import HostFiles
    from tambourinefs.agent.ports import Systemd
    from tambourinefs.agent.state.record import Original, Record, Written
    from tambourinefs.model.manifest import Spec

MESSAGE_MAX: Final = 2000  # characters of systemd-analyze's output in a condition

Pending = Mapping[NamespacedName, tuple["Want", "Record | None"]]


class _ForeignUnitError(HostError):
    """A unit file or drop-in is there that the agent did not write."""


@dataclass(frozen=True, slots=True)
class HostChecker:
    """`silo` is the silo's path, for payload."""

    systemd: Systemd
    verifier: Verifier
    host: HostFiles
    silo: Path

    async def check(self, wants: Pending) -> dict[NamespacedName, HostCheck]:
        """Check all of them. Raises SystemdUnavailable."""
        surveys: dict[NamespacedName, HostCheck] = {}
        findings: dict[NamespacedName, Findings] = {}
        states: dict[str, str] = {}

        async def survey() -> None:
            surveys.update(await trio.to_thread.run_sync(self._survey_all, wants))

        async def verify() -> None:
            findings.update(await self._verify(wants))

        async def ask() -> None:
            states.update(await self._ask(wants))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(survey)
            nursery.start_soon(verify)
            nursery.start_soon(ask)
        return {
            key: _checked(
                want.manifest.spec,
                surveys[key],
                findings.get(key),
                "" if surveys[key].adopted else _foreign(want, record, states),
            )
            for key, (want, record) in wants.items()
        }

    # -- files

    def _survey_all(self, wants: Pending) -> dict[NamespacedName, HostCheck]:
        return {key: self._survey(key, want, record) for key, (want, record) in wants.items()}

    def _survey(self, key: NamespacedName, want: Want, record: Record | None) -> HostCheck:
        digest = want.content.digest
        originals: dict[str, Original] = {}
        directories: dict[str, None] = {}
        try:
            for target in want.content.targets:
                owner_ids(target)
                written = record.at(target.path) if record else None
                original = self._in_the_way(target, written)
                if original is not None:
                    originals[target.path] = original
                directories.update(dict.fromkeys(self.host.missing_directories(target.path)))
            self._check_payloads(key, want)
        except _ForeignUnitError as error:
            return HostCheck(digest, ConditionState(FALSE, "ForeignUnit", error.message))
        except PayloadMissing as error:
            return HostCheck(digest, ConditionState(UNKNOWN, "PayloadMissing", error.message))
        except (HostError, OSError) as error:
            return HostCheck(digest, ACCEPTED, failure=str(error))
        adopted = want.content.unit is not None and self._is_there(want.content.unit)
        return HostCheck(digest, ACCEPTED, "", adopted, originals, tuple(directories))

    def _is_there(self, target: Target) -> bool:
        return self.host.look(target.path).digest == target.digest

    def _in_the_way(self, target: Target, written: Written | None) -> Original | None:
        """What is at the path, unless the record has it. Raises for a unit or drop-in that the agent
        did not write.
        """
        known = written.ours if written else ()
        # A file that is too large to be kept is not read: other services wait for this thread.
        found = self.host.look(target.path, most=None if known else ORIGINAL_MAX)
        if found.kind == "absent":
            return None
        if found.kind == "file" and found.digest in (*known, target.digest) and target.kind != FILE:
            return (
                None  # written by the agent; maybe before its state was lost: the header is in it
            )
        if target.kind != FILE:
            why = "was changed on the host" if known else "is not managed by Tambourine"
            raise _ForeignUnitError(f"{target.path} {why}: remove it to have it replaced")
        if written is not None and (written.placed or found.digest in known):
            return None
        return self.host.capture(target.path)

    def _check_payloads(self, key: NamespacedName, want: Want) -> None:
        payloads = [target for target in want.content.targets if target.payload]
        if not payloads:
            return
        directory = open_manifest_directory(self.silo, key)
        try:
            for target in payloads:
                check_payload(directory, target.payload, target.digest)
        finally:
            os.close(directory)

    # -- units

    async def _ask(self, wants: Pending) -> dict[str, str]:
        """The state of the units whose names they claim. Templates have files only."""
        wanted = {name for want, _ in wants.values() for name in _claimed_units(want)}
        plain = [name for name in wanted if not names.is_template(name)]
        states = await self.systemd.states(plain) if plain else {}
        found = {n: s.load_state for n, s in states.items() if s.load_state != "not-found"}
        for name in wanted.difference(plain):
            found[name] = await self.systemd.unit_file_state(name)
        return found

    async def _verify(self, wants: Pending) -> dict[NamespacedName, Findings]:
        found: dict[NamespacedName, Findings] = {}
        drafts = {key: draft for key, (want, _) in wants.items() if (draft := _draft(want))}
        while drafts:
            # Findings are by unit, and several manifests may bring drop-ins of one unit: a round for each.
            one_each = {draft.unit: key for key, draft in drafts.items()}
            results = await self.verifier.verify([drafts.pop(key) for key in one_each.values()])
            found.update({key: results[unit] for unit, key in one_each.items()})
        return found


def open_manifest_directory(silo: Path, key: NamespacedName) -> int:
    """A descriptor of the directory of one manifest in the silo. Raises PayloadMissing."""
    try:
        root = os.open(silo, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            return files.open_beneath(root, f"{key[0]}/{key[1]}", os.O_RDONLY | os.O_DIRECTORY)
        finally:
            os.close(root)
    except OSError as error:
        raise PayloadMissing(f"the manifest's directory: {error.strerror}") from error


def _draft(want: Want) -> Draft | None:
    spec = want.manifest.spec
    if not spec.texts:
        return None
    drop_ins = tuple((drop_in.name, drop_in.content) for drop_in in spec.drop_ins)
    return Draft(want.unit, spec.unit, drop_ins, tuple(file.path for file in spec.files))


def _owns(record: Record | None) -> bool:
    return record is not None and record.owns_unit


def _claimed_units(want: Want) -> list[str]:
    """The unit names that the manifest claims: its own and those of Alias= and Also=."""
    claimed = [claim.removeprefix("unit ") for claim in want.claims if claim.startswith("unit ")]
    return [name for name in claimed if not names.unit_problem(name)]


def _foreign(want: Want, record: Record | None, states: Mapping[str, str]) -> str:
    """The first claimed name that is new and has a unit on this host; "" for none."""
    held = record.claims if record is not None else ()
    own = {want.unit} if _owns(record) else set()
    new = (name for name in _claimed_units(want) if name not in own and f"unit {name}" not in held)
    return next((name for name in new if states.get(name, "")), "")


def _checked(spec: Spec, survey: HostCheck, findings: Findings | None, foreign: str) -> HostCheck:
    accepted = survey.accepted
    if accepted.status != TRUE:
        return survey
    if foreign:
        message = f"{foreign} exists on this host and is not managed by Tambourine"
        field_path = fieldpath.of_claim(spec, f"unit {foreign}")
        accepted = ConditionState(FALSE, "ForeignUnit", fieldpath.at(field_path, message))
    elif findings is not None and findings.problems:
        message = fieldpath.at(fieldpath.of_texts(spec), "; ".join(findings.problems))
        accepted = ConditionState(FALSE, "VerifyFailed", message[:MESSAGE_MAX])
    elif findings is not None and findings.warnings:
        accepted = ConditionState(TRUE, "Accepted", "; ".join(findings.warnings)[:MESSAGE_MAX])
    return replace(survey, accepted=accepted)
