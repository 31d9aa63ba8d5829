"""Reads unit files as PID 1 does (systemd.syntax(7); src/shared/conf-parser.c of systemd).

A reader that differs from systemd's would miss settings, so all its rules are here: a lone carriage
return ends a line, comments between continued lines are skipped, an escaped backslash at the end of
a line does not continue it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from tambourinefs.model import names

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

STAMP: Final = "X-Tambourine"  # the section that marks a unit file as managed

_END_OF_LINE: Final = re.compile("\r\n|\n\r|\n|\r|\0")
_BLANKS: Final = " \t\n\r"
_QUOTING: Final = re.compile("[\\\\\"']")
_BETWEEN: Final = re.compile("[ \t\n\r]+")
_BAD_IN_SECTION: Final = re.compile("[\x01-\x1f\x7f\"'\\\\]")
_HEX: Final = re.compile(r"[0-9a-fA-F]+")
_ESCAPES: Final = {
    "a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v",
    "s": " ", "\\": "\\", '"': '"', "'": "'",
}  # fmt: skip
_CODES: Final = {"x": (2, 16), "u": (4, 16), "U": (8, 16)}


@dataclass(frozen=True, slots=True)
class Setting:
    """`key=value` in a section; `value` as written, with continued lines joined. `line` from 1."""

    section: str
    key: str
    value: str
    line: int


@dataclass(frozen=True, slots=True)
class UnitFile:
    """`sections` in order, unique. With `errors` systemd rejects the file; it skips `ignored` lines."""

    sections: tuple[str, ...]
    settings: tuple[Setting, ...]
    errors: tuple[tuple[int, str], ...]
    ignored: tuple[tuple[int, str], ...]


def parse(text: str) -> UnitFile:
    """Read one unit file or drop-in; never raises."""
    sections: dict[str, None] = {}
    settings: list[Setting] = []
    errors: list[tuple[int, str]] = []
    ignored: list[tuple[int, str]] = []
    section = ""
    for number, line in _logical_lines(text):
        if line.startswith("["):
            name = line[1:-1]
            if not line.endswith("]") or len(line) < 2 or _BAD_IN_SECTION.search(name):
                errors.append((number, f"bad section header {line[:64]}"))
                break
            section = name
            sections[name] = None
            continue
        key, equals, value = line.partition("=")
        if not section:
            ignored.append((number, "stands before the first section"))
        elif not equals:
            ignored.append((number, "has no ="))
        else:
            settings.append(Setting(section, key.strip(_BLANKS), value.strip(_BLANKS), number))
    return UnitFile(tuple(sections), tuple(settings), tuple(errors), tuple(ignored))


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """(number, text) of lines without comments, continued ones joined, blanks stripped."""
    parts: list[str] = []
    begin = 0
    for number, raw in enumerate(_END_OF_LINE.split(text.removeprefix("\ufeff")), start=1):
        if raw.lstrip(_BLANKS)[:1] in {"#", ";"}:
            continue
        if not parts:
            begin = number
        if _continues(raw):
            parts.append(raw[:-1] + " ")
            continue
        line = "".join([*parts, raw]).strip(_BLANKS)
        parts.clear()
        if line:
            yield begin, line
    line = "".join(parts).strip(_BLANKS)
    if line:
        yield begin, line


def _continues(line: str) -> bool:
    """Whether it ends in an unescaped backslash."""
    return (len(line) - len(line.rstrip("\\"))) % 2 == 1


def sections(text: str) -> dict[str, tuple[Setting, ...]]:
    """The settings of a unit file by section."""
    unit = parse(text)
    found: dict[str, list[Setting]] = {name: [] for name in unit.sections}
    for setting in unit.settings:
        found[setting.section].append(setting)
    return {name: tuple(settings) for name, settings in found.items()}


def words(value: str, *, keep_escapes: bool = False) -> list[str]:
    """Split a list as extract_first_word() does: at blanks, with quotes and C escapes removed.

    Invalid escapes stay. `keep_escapes`: as for lists of unit names, where `\\x2d` is part of a name.
    """
    if not _QUOTING.search(value):
        return [word for word in _BETWEEN.split(value) if word]
    found: list[str] = []
    word: list[str] = []
    quote, started, place = "", False, 0
    while place < len(value):
        character = value[place]
        place += 1
        if character == "\\" and place < len(value):
            text, end = _unescape(value, place)
            word.append(value[place - 1 : end] if keep_escapes else text)
            place = end
            started = True
        elif quote:
            if character == quote:
                quote = ""
            else:
                word.append(character)
        elif character in "\"'":
            quote, started = character, True
        elif character in _BLANKS:
            if started:
                found.append("".join(word))
                word.clear()
                started = False
        else:
            word.append(character)
            started = True
    return [*found, "".join(word)] if started else found


def _unescape(value: str, place: int) -> tuple[str, int]:
    """The character of the escape sequence after a backslash, and where it ends."""
    kind = value[place]
    if kind in _ESCAPES:
        return _ESCAPES[kind], place + 1
    length, base = _CODES.get(kind, (3, 8))
    start = place + (kind in _CODES)
    digits = value[start : start + length]
    if len(digits) == length and _HEX.fullmatch(digits):
        try:
            return chr(int(digits, base)), start + length
        except (ValueError, OverflowError):
            pass
    return "\\" + kind, place + 1


# Specifiers of the system manager that do not depend on the host (systemd.unit(5), SPECIFIERS).
_DIRECTORIES: Final = {
    "C": "/var/cache", "E": "/etc", "L": "/var/log", "S": "/var/lib", "T": "/tmp", "V": "/var/tmp",  # noqa: S108
    "t": "/run", "h": "/root", "u": "root", "U": "0", "g": "root", "G": "0", "%": "%",
}  # fmt: skip
_SPECIFIER: Final = re.compile(r"%(.)", re.DOTALL)


def expand(text: str, unit: str, unknown: str | None = None) -> str:
    """`text` with the specifiers that are constant or depend on the unit name expanded.

    Others (%H, %m, …) become `unknown`, or stay without it.
    """
    if "%" not in text:
        return text
    values = _name_specifiers(unit)
    return _SPECIFIER.sub(
        lambda match: values.get(match[1], match[0] if unknown is None else unknown), text
    )


@lru_cache(maxsize=64)
def _name_specifiers(unit: str) -> dict[str, str]:
    stem = unit.rpartition(".")[0]
    own, prefix = names.instance(unit) or "", names.prefix(unit)
    last = prefix.rpartition("-")[2]
    return _DIRECTORIES | {
        "n": unit, "N": stem, "p": prefix, "P": names.unescape(prefix), "i": own, "I": names.unescape(own),
        "j": last, "J": names.unescape(last), "f": names.unescape_path(own or prefix),
        "d": f"/run/credentials/{unit}",
    }  # fmt: skip


def aliases(texts: Iterable[str], unit: str) -> frozenset[str]:
    """The other units that `systemctl enable` changes: Alias= and Also= of [Install].

    `texts` are the unit file and its drop-ins, in that order.
    """
    also: list[str] = []
    alias: list[str] = []
    for setting in (s for text in texts for s in parse(text).settings if s.section == "Install"):
        if setting.key == "Also":
            also += _also(setting.value)
        elif setting.key == "Alias":
            if not setting.value:
                alias.clear()
            alias += words(setting.value, keep_escapes=True)
    return frozenset(expand(word, unit) for word in {*also, *alias})


def _also(value: str) -> Iterator[str]:
    """systemd 252 removes backslashes in Also=, later releases keep them: both names count."""
    for word in _BETWEEN.split(value):
        if word:
            yield word
            yield re.sub(r"\\(.)", r"\1", word)


def stamp(text: str, facts: Mapping[str, str]) -> str:
    """`text` with a first section [X-Tambourine] of `facts`, which systemd ignores.

    At the beginning: at the end it could be joined to a line that ends in a backslash.
    """
    lines = [f"{key}={names.printable(value).rstrip(chr(92))}" for key, value in facts.items()]
    return "\n".join([f"[{STAMP}]", *lines, "", text.removeprefix("\ufeff")])
