"""Looks at the host before a manifest is taken: is its unit good, are the files in its way ours, is
its payload there?

Nothing is changed but copies kept in applied state. A batch is one call of systemd-analyze, one of
systemd, one thread.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

import trio

from tambourinefs import files
from tambourinefs.agent.admission import fieldpath
from tambourinefs.agent.host.content import FILE, Target
from tambourinefs.agent.host.files import ORIGINAL_MAX, owner_ids
from tambourinefs.agent.host.payload import PayloadMissing, check_payload
from tambourinefs.agent.ports import Draft, Findings
from tambourinefs.agent.status.conditions import FALSE, TRUE, UNKNOWN, Verdict
from tambourinefs.errors import HostError
from tambourinefs.model import names

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tambourinefs.agent.host.files import HostFiles
    from tambourinefs.agent.planning.plan import Want
    from tambourinefs.agent.ports import Systemd, Verifier
    from tambourinefs.agent.state.record import Original, Record, Written
    from tambourinefs.model.manifest import Spec
    from tambourinefs.model.names import NamespacedName

_ACCEPTED: Final = Verdict(TRUE, "Accepted")
MESSAGE_MAX: Final = 2000  # characters of systemd-analyze's words in a condition


@dataclass(frozen=True, slots=True)
class HostCheck:
    """What was found for one manifest. `digest` is the content's that was looked at."""

    digest: str
    verdict: Verdict
    failure: str = ""  # why this host cannot hold it, though it may
    adopted: bool = False  # the unit file is there, just as we would write it: our state was lost
    originals: Mapping[str, Original] = field(default_factory=dict)
    directories: tuple[str, ...] = ()


class _ForeignUnitError(HostError):
    """There is a unit, or a drop-in, that we did not make."""


@dataclass(frozen=True, slots=True)
class HostChecker:
    """Where to look. `silo` is the silo's path, for payload."""

    systemd: Systemd
    verifier: Verifier
    host: HostFiles
    silo: Path

    async def check(
        self, wants: Mapping[NamespacedName, tuple[Want, Record | None]]
    ) -> dict[NamespacedName, HostCheck]:
        """Look at all of them. Raises SystemdUnavailable."""
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
            key: _judged(
                want.manifest.spec,
                surveys[key],
                findings.get(key),
                "" if surveys[key].adopted else _foreign(want, record, states),
            )
            for key, (want, record) in wants.items()
        }

    # -- files

    def _survey_all(
        self, wants: Mapping[NamespacedName, tuple[Want, Record | None]]
    ) -> dict[NamespacedName, HostCheck]:
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
            return HostCheck(digest, Verdict(FALSE, "ForeignUnit", error.message))
        except PayloadMissing as error:
            return HostCheck(digest, Verdict(UNKNOWN, "PayloadMissing", error.message))
        except (HostError, OSError) as error:
            return HostCheck(digest, _ACCEPTED, failure=str(error))
        adopted = want.content.unit is not None and self._is_there(want.content.unit)
        return HostCheck(digest, _ACCEPTED, "", adopted, originals, tuple(directories))

    def _is_there(self, target: Target) -> bool:
        return self.host.look(target.path).digest == target.digest

    def _in_the_way(self, target: Target, written: Written | None) -> Original | None:
        """What stands at the path, if we do not know it yet. Raises for a unit or drop-in of
        somebody else's.
        """
        known = written.ours if written else ()
        # One that is too large to be kept is not read either: others wait for this thread.
        found = self.host.look(target.path, most=None if known else ORIGINAL_MAX)
        if found.kind == "absent":
            return None
        if found.kind == "file" and found.digest in (*known, target.digest) and target.kind != FILE:
            return None  # ours, or what we wrote before our state was lost: the header is in it
        if target.kind != FILE:
            changed = " was changed on the host since it was written" if known else " is not ours"
            raise _ForeignUnitError(
                f"{target.path}{changed}: it is not overwritten",
                hint="Remove it, and the manifest takes effect.",
            )
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

    async def _ask(
        self, wants: Mapping[NamespacedName, tuple[Want, Record | None]]
    ) -> dict[str, str]:
        """What systemd has by the names that they would take; "" for nothing. Templates are files
        only.
        """
        wanted = {name for want, _ in wants.values() for name in _taken(want)}
        plain = [name for name in wanted if not names.is_template(name)]
        states = await self.systemd.states(plain) if plain else {}
        found = {n: s.load_state for n, s in states.items() if s.load_state != "not-found"}
        for name in wanted.difference(plain):
            found[name] = await self.systemd.unit_file_state(name)
        return found

    async def _verify(
        self, wants: Mapping[NamespacedName, tuple[Want, Record | None]]
    ) -> dict[NamespacedName, Findings]:
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


def _taken(want: Want) -> list[str]:
    """The unit names that the manifest takes: its own and those of Alias= and Also=."""
    taken = [claim.removeprefix("unit ") for claim in want.claims if claim.startswith("unit ")]
    return [name for name in taken if not names.unit_problem(name)]


def _foreign(want: Want, record: Record | None, states: Mapping[str, str]) -> str:
    """The first name that this host has a unit for and that was not taken before; "" when there is none."""
    held = record.claims if record is not None else ()
    own = {want.unit} if _owns(record) else set()
    new = (name for name in _taken(want) if name not in own and f"unit {name}" not in held)
    return next((name for name in new if states.get(name, "")), "")


def _judged(spec: Spec, survey: HostCheck, findings: Findings | None, foreign: str) -> HostCheck:
    if survey.verdict.status != TRUE:
        return survey
    verdict = survey.verdict
    if foreign:
        said = f"{foreign} is on this host already, and Tambourine did not make it"
        where = fieldpath.of_claim(spec, f"unit {foreign}")
        verdict = Verdict(FALSE, "ForeignUnit", fieldpath.at(where, said))
    elif findings is not None and findings.problems:
        said = fieldpath.at(fieldpath.of_texts(spec), "; ".join(findings.problems))
        verdict = Verdict(FALSE, "VerifyFailed", said[:MESSAGE_MAX])
    elif findings is not None and findings.warnings:
        verdict = Verdict(TRUE, "Accepted", "; ".join(findings.warnings)[:MESSAGE_MAX])
    return replace(survey, verdict=verdict)
