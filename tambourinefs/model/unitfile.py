"""Reads unit files as PID 1 does (systemd.syntax(7); config_parse() and parse_line() in systemd's src/shared/conf-parser.c).

A reader that is laxer or stricter than systemd's would let a setting pass unseen, so the odd rules are here too: a lone
carriage return ends a line, comments between continued lines are skipped, an escaped backslash at the end continues
nothing. What a setting means is known only where a function below says so.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from tambourinefs.model import names

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

STAMP: Final = "X-Tambourine"  # the section that tells readers of a unit file whose it is

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
    """`key=value` in a section; `value` as written, continued lines joined. `line` is where it begins, from 1."""

    section: str
    key: str
    value: str
    line: int


@dataclass(frozen=True, slots=True)
class UnitFile:
    """`sections` in order, each once. `errors` make systemd refuse the whole file; `ignored` it passes over. (line, what)"""

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
    """(number, text) of the lines that say something: comments gone, continued ones joined, blanks stripped."""
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
    """Whether it ends in a backslash that no backslash escapes."""
    return (len(line) - len(line.rstrip("\\"))) % 2 == 1


def sections(text: str) -> dict[str, tuple[Setting, ...]]:
    """The settings of a unit file by section."""
    unit = parse(text)
    found: dict[str, list[Setting]] = {name: [] for name in unit.sections}
    for setting in unit.settings:
        found[setting.section].append(setting)
    return {name: tuple(settings) for name, settings in found.items()}


def words(value: str, *, keep_escapes: bool = False) -> list[str]:
    """The words of a list: split at blanks, quotes and C escapes undone, the broken left as it is (extract_first_word()).

    `keep_escapes`: as systemd reads unit names in a list, where `\\x2d` is part of the name.
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
    """What the escape sequence after a backslash stands for, and where it ends."""
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


# What the system manager puts for specifiers that do not depend on the host (systemd.unit(5), SPECIFIERS).
_DIRECTORIES: Final = {
    "C": "/var/cache", "E": "/etc", "L": "/var/log", "S": "/var/lib", "T": "/tmp", "V": "/var/tmp",  # noqa: S108
    "t": "/run", "h": "/root", "u": "root", "U": "0", "g": "root", "G": "0", "%": "%",
}  # fmt: skip
_SPECIFIER: Final = re.compile(r"%(.)", re.DOTALL)


def expand(text: str, unit: str, unknown: str | None = None) -> str:
    """`text` with the specifiers put in that follow from the unit's name or are constants.

    Others (%H, %m, …) become `unknown`; without it they stay as written.
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
    """The unit names that `systemctl enable` of it touches beside its own: Alias= and Also= of [Install].

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
    """systemd 252 takes no quotes in Also= and loses a backslash there; newer ones keep it, so both names count."""
    for word in _BETWEEN.split(value):
        if word:
            yield word
            yield re.sub(r"\\(.)", r"\1", word)


def stamp(text: str, facts: Mapping[str, str]) -> str:
    """`text` with a first section [X-Tambourine] of `facts`, which systemd ignores.

    First, since text after a trailing backslash would swallow one that is appended.
    """
    lines = [f"{key}={names.printable(value).rstrip(chr(92))}" for key, value in facts.items()]
    return "\n".join([f"[{STAMP}]", *lines, "", text.removeprefix("\ufeff")])
