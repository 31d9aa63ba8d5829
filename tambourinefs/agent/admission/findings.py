"""Drafts for systemd-analyze verify, and its output sorted by draft. Pure.

With --recursive-errors=no it prints two kinds of lines (systemd 252 to 257, src/analyze):
`PATH:LINE: …` for a setting that it ignores, and `UNIT: …` or `Unit UNIT …` for why the unit cannot
be used. The second kind refuses a draft and the first kind explains it; else they are warnings.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from tambourinefs.model import unitfile
from tambourinefs.model.names import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

LINES_MAX: Final = 20  # of one draft
LINE_LENGTH: Final = 400  # characters

_VERDICT: Final = re.compile(r"Unit (?P<unit>\S+) (?P<says>.*)")
_ABOUT: Final = re.compile(r"(?P<unit>[^\s:]\S*): (?P<says>.*)")
_SETTING: Final = re.compile(r"(?P<file>.+?):(?P<line>\d+): (?P<says>.*)")
_COMMAND: Final = re.compile(r"Command (?P<path>.+) is not executable: .*")
# A unit with one of these does not start where the file is missing (systemd.unit(5)).
_PRESENCE: Final = frozenset({"ConditionPathExists", "ConditionFileIsExecutable"})
_EMPTY_VERDICT: Final = "has a bad unit file setting."


@dataclass(frozen=True, slots=True)
class Draft:
    """One manifest's unit before it is written."""

    unit: str  # with suffix
    text: str | None = None  # None: the unit is on the host, or will be
    drop_ins: tuple[tuple[str, str], ...] = ()  # (file name ending in .conf, content)
    files: tuple[str, ...] = ()  # paths that the same manifest writes: they count as executable


@dataclass(frozen=True, slots=True)
class Findings:
    """What systemd-analyze verify says of one draft. With problems it must not be written."""

    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()  # unknown keys and sections, which systemd ignores


class Verifier(Protocol):
    """systemd-analyze verify over a staged tree."""

    async def verify(self, batch: Sequence[Draft]) -> Mapping[str, Findings]:
        """Findings by unit name, one for every draft. The drafts see each other (a socket finds its
        service), and a bad one does not affect another. A verify that takes too long is a problem.
        """
        ...


def sort_findings(output: str, stage: str, batch: Sequence[Draft]) -> dict[str, Findings]:
    """Findings for every draft of the batch. `stage` is the directory of the drafts' files."""
    brought = {path for draft in batch for path in draft.files}
    doubted = {draft.unit: conditional_commands(draft) for draft in batch}
    fatal: dict[str, list[str]] = {draft.unit: [] for draft in batch}
    about: dict[str, list[str]] = {draft.unit: [] for draft in batch}
    for line in dict.fromkeys(output.splitlines()):
        if line.startswith(f"{stage}/"):
            _add(about, *_staged(line.removeprefix(f"{stage}/")))
        else:
            unit, text, command = _verdict(line, brought)
            expected = command in doubted.get(unit, doubted.get(template_of(unit), ()))
            _add(about if expected else fatal, unit, text)
    return {unit: _findings(fatal[unit], about[unit]) for unit in fatal}


def _add(lines: dict[str, list[str]], unit: str, text: str) -> None:
    for name in (unit, template_of(unit)):
        if name in lines:
            lines[name].append(printable(text)[:LINE_LENGTH])
            return


def template_of(unit: str) -> str:
    """`a@.service` of `a@x.service` (verify tries a template with an instance of its own); else the
    unit.
    """
    prefix, at, rest = unit.partition("@")
    return f"{prefix}@.{rest.rpartition('.')[2]}" if at else unit


def _staged(line: str) -> tuple[str, str]:
    """The unit of a `FILE:LINE: …` line, and the line without the stage."""
    found = _SETTING.fullmatch(line)
    if found is None:
        return "", ""
    directory, slash, _ = found["file"].partition("/")
    unit = directory.removesuffix(".d") if slash else directory
    return unit, f"{found['file']}:{found['line']}: {found['says']}"


def conditional_commands(draft: Draft) -> frozenset[str]:
    """The files without which the draft's own conditions keep it from starting: it may be installed
    without them, and its status says so.
    """
    found: set[str] = set()
    for text in (draft.text or "", *(content for _, content in draft.drop_ins)):
        for setting in unitfile.parse(text).settings:
            if setting.section != "Unit" or not setting.key.startswith("Condition"):
                continue
            if not setting.value:  # resets every condition before it, of any kind
                found.clear()
            elif setting.key in _PRESENCE and setting.value.startswith("/"):  # neither `|` nor `!`
                found.add(setting.value)
    return frozenset(found)


def _verdict(line: str, brought: Iterable[str]) -> tuple[str, str, str]:
    """The unit of a `UNIT: …` line, the line, and the missing command that it names; empty for other
    lines, and for a file that the batch writes.
    """
    found = _VERDICT.fullmatch(line) or _ABOUT.fullmatch(line)
    if found is None:
        return "", "", ""
    command = _COMMAND.fullmatch(found["says"])
    if command is not None and command["path"] in brought:
        return "", "", ""
    if found["says"] == "is masked.":
        return found["unit"], f"{found['unit']}: an empty unit file masks the unit", ""
    return found["unit"], line, command["path"] if command else ""


def _findings(fatal: list[str], about: list[str]) -> Findings:
    if not fatal:
        return Findings(warnings=_bounded(about))
    telling = [line for line in fatal if not line.endswith(_EMPTY_VERDICT)]
    return Findings(problems=_bounded([*(telling or fatal), *about]))


def _bounded(lines: list[str]) -> tuple[str, ...]:
    more = len(lines) - LINES_MAX
    return (*lines[:LINES_MAX], f"… and {more} more") if more > 0 else tuple(lines)
