"""YAML to documents, built from libyaml's events instead of by a loader, so that every bound and position is ours.

A plain scalar means what it means to kubectl, so that one file gives one result whichever of the two reads it: the
table is that of sigs.k8s.io/yaml (goyaml.v2/resolve.go). `no` and `off` are false, 0644 and 0o644 are 420, a date is a
string. Where kubectl would guess, we refuse: a key that is not a string, a tag other than !!str, a merge key. Anchors
and aliases work; each use counts in full, so a small file cannot unfold into a large one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import yaml

from tambourinefs.errors import InvalidManifest
from tambourinefs.model.document import (
    MAX_BYTES,
    MAX_DEPTH,
    MAX_DIGITS,
    MAX_VALUES,
    Document,
    Value,
    decode,
    text_problem,
    wrong,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_STREAM: Final = 16 << 20  # bytes of one file, which may hold many manifests
MAX_DOCUMENTS: Final = 10_000

_TRUE: Final = ["y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"]
_FALSE: Final = ["n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"]
_WORDS: Final[dict[str, Value]] = {
    **dict.fromkeys(_TRUE, True),
    **dict.fromkeys(_FALSE, False),
    **dict.fromkeys(["", "~", "null", "Null", "NULL"]),
}
_INTEGER: Final = re.compile(
    r"[-+]?(?:0[xX][0-9a-fA-F]+|0[oO][0-7]+|0[bB][01]+|0[0-7]*|[1-9][0-9]*)"
)
_FLOAT: Final = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NOT_FINITE: Final = re.compile(r"\.(?:nan|NaN|NAN)|[-+]?\.(?:inf|Inf|INF)")
_OWN_TAGS: Final = {None, "!", "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"}


def resolve(text: str) -> Value:
    """What a plain scalar means to kubectl. Raises ValueError for a number that is not finite or too large."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in "+-.0123456789":
        return text
    digits = text.replace("_", "")
    if _INTEGER.fullmatch(digits):
        return _integer(digits)
    if _NOT_FINITE.fullmatch(text):
        raise ValueError(f"{text} is not a number that JSON has")
    if _FLOAT.fullmatch(digits):
        value = float(digits)
        if value in {float("inf"), float("-inf")}:
            raise ValueError(f"number {text[:MAX_DIGITS]} is too large")
        return value
    return text


def is_plain(text: str) -> bool:
    """Whether kubectl and we would read this string back as itself when it stands without quotes."""
    try:
        return resolve(text) == text
    except ValueError:
        return False


def _integer(digits: str) -> int | float:
    """Base by prefix as Go's ParseInt(…, 0, 64); beyond 64 bits it is no integer that a field of ours takes."""
    sign = -1 if digits[0] == "-" else 1
    body = digits.lstrip("+-")
    if len(body) > 66:
        raise ValueError(f"number {body[:MAX_DIGITS]}… is too large; put quotes around a string")
    is_old_octal = len(body) > 1 and body[0] == "0" and body[1].isdigit()
    value = sign * (int(body, 8) if is_old_octal else int(body, 0))
    if abs(value) >= 1 << 63:
        raise ValueError(f"number {body[:MAX_DIGITS]}… is too large; put quotes around a string")
    return value


def from_yaml(data: bytes, source: str) -> Iterator[Document]:
    """The documents of a YAML stream, the empty ones left out, each as soon as it is whole.

    Raises InvalidManifest.
    """
    text = decode(data, source, MAX_STREAM)
    building: _Building | None = None
    count = 0
    try:
        for event in _events(text):
            if isinstance(event, yaml.DocumentStartEvent):
                count += 1
                if count > MAX_DOCUMENTS:
                    raise wrong(f"more than {MAX_DOCUMENTS} documents", source)
                building = _Building(source, *_place(event.start_mark))
            elif isinstance(event, yaml.DocumentEndEvent):
                assert building is not None
                if building.root is not None:
                    yield building.document(text[building.start : _place(event.end_mark)[0]])
            elif building is not None:
                building.take(event)
    except yaml.YAMLError as error:
        raise _syntax_error(error, text, source) from error


def _events(text: str) -> Iterator[Any]:
    """libyaml's events. Their marks count characters; the stubs say that marks may be missing, libyaml always sets them."""
    return yaml.parse(text, Loader=yaml.CSafeLoader)


def _place(mark: Any) -> tuple[int, int]:
    """(character, line from 1)."""
    return mark.index, mark.line + 1


def _syntax_error(error: yaml.YAMLError, text: str, source: str) -> InvalidManifest:
    mark = getattr(error, "problem_mark", None)
    if mark is not None:
        reason = getattr(error, "problem", None) or "cannot be read"
        if (
            "nesting depth" in reason
        ):  # libyaml's own bound, which it may meet while it looks ahead of us
            reason = f"nested deeper than {MAX_DEPTH} levels"
        return wrong(f"not YAML: {reason} (column {mark.column + 1})", source, mark.line + 1)
    reason = getattr(error, "reason", None) or "cannot be read"
    position = getattr(error, "position", 0)  # of a byte that YAML does not allow
    line = text.encode().count(b"\n", 0, max(position, 0)) + 1
    return wrong(f"not YAML: {reason}", source, line)


@dataclass(slots=True)
class _Open:
    """A container that is being filled. `values` and `size` are what it weighs, aliases counted in full."""

    container: list[Value] | dict[str, Value]
    anchor: str | None
    line: int
    key: str | None = None
    key_line: int = 0
    values: int = 1
    size: int = 0


@dataclass(slots=True)
class _Building:
    """One document while its events come in."""

    source: str
    start: int  # character of the stream
    line: int
    root: Value = None
    stack: list[_Open] = field(default_factory=list)
    anchors: dict[str, tuple[Value, int, int]] = field(default_factory=dict)
    lines: dict[tuple[int, str | int], int] = field(default_factory=dict)
    values: int = 0
    size: int = 0

    def take(self, event: Any) -> None:
        """One event of libyaml."""
        line = event.start_mark.line + 1
        if event.end_mark.index - self.start > MAX_BYTES:
            raise self.wrong(f"larger than {MAX_BYTES >> 20} MiB", self.line)
        if isinstance(event, yaml.ScalarEvent):
            self.scalar(event, line)
        elif isinstance(event, yaml.AliasEvent):
            self.alias(str(event.anchor), line)
        elif isinstance(event, yaml.MappingStartEvent):
            self.open({}, event, line)
        elif isinstance(event, yaml.SequenceStartEvent):
            self.open([], event, line)
        elif isinstance(event, yaml.CollectionEndEvent):
            done = self.stack.pop()
            self.place(done.container, done.values, done.size, done.line, done.anchor)

    def scalar(self, event: Any, line: int) -> None:
        text = event.value
        if problem := text_problem(text):
            raise self.wrong(problem, line)
        if event.tag not in {None, "!", "tag:yaml.org,2002:str"}:
            raise self.wrong(f"tag {event.tag} is not supported", line)
        if self.wants_key():
            self.take_key(event, line)
            return
        value: Value = text
        if event.implicit[0] and event.tag is None:
            try:
                value = resolve(text)
            except ValueError as error:
                raise self.wrong(str(error), line) from None
        self.weigh(1, len(text), line)
        self.place(value, 1, len(text), line, event.anchor)

    def take_key(self, event: Any, line: int) -> None:
        top, key = self.stack[-1], event.value
        assert isinstance(top.container, dict)
        if event.implicit[0] and event.tag is None:
            if key == "<<":
                raise self.wrong("merge keys (<<) are not supported: write the fields out", line)
            if not isinstance(_resolved_or_text(key), str):
                raise self.wrong(f"key {key[:64]} is not a string: put quotes around it", line)
        if key in top.container:
            raise self.wrong(f'field "{key[:64]}" is there twice', line, key[:64])
        self.weigh(1, len(key), line)
        top.values += 1
        top.size += len(key)
        top.key, top.key_line = key, line
        if event.anchor:
            self.anchors[event.anchor] = (key, 1, len(key))

    def alias(self, anchor: str, line: int) -> None:
        if anchor not in self.anchors:
            raise self.wrong(f"alias *{anchor[:64]} names no anchor that is complete here", line)
        if self.wants_key():
            raise self.wrong("an alias cannot be a key", line)
        value, values, size = self.anchors[anchor]
        self.weigh(values, size, line)
        self.place(value, values, size, line, None)

    def open(self, container: list[Value] | dict[str, Value], event: Any, line: int) -> None:
        if event.tag not in _OWN_TAGS:
            raise self.wrong(f"tag {event.tag} is not supported", line)
        if self.wants_key():
            raise self.wrong("a key must be a string", line)
        if len(self.stack) >= MAX_DEPTH:
            raise self.wrong(f"nested deeper than {MAX_DEPTH} levels", line)
        self.weigh(1, 0, line)
        self.stack.append(_Open(container, event.anchor, line))

    def wants_key(self) -> bool:
        """Whether the next value is the key of a mapping."""
        if not self.stack:
            return False
        top = self.stack[-1]
        return isinstance(top.container, dict) and top.key is None

    def weigh(self, values: int, size: int, line: int) -> None:
        """Count what was added, so that aliases cannot unfold without end."""
        self.values += values
        self.size += size
        if self.values > MAX_VALUES:
            raise self.wrong(f"more than {MAX_VALUES} values, aliases unfolded", line)
        if self.size > MAX_BYTES:
            raise self.wrong(f"larger than {MAX_BYTES >> 20} MiB, aliases unfolded", line)

    def place(self, value: Value, values: int, size: int, line: int, anchor: str | None) -> None:
        """Put a value that is whole where it belongs."""
        if anchor:
            self.anchors[anchor] = (value, values, size)
        if not self.stack:
            self.root = value
            return
        top = self.stack[-1]
        top.values += values
        top.size += size
        if isinstance(top.container, list):
            self.lines[id(top.container), len(top.container)] = line
            top.container.append(value)
        else:
            assert top.key is not None
            self.lines[id(top.container), top.key] = top.key_line
            top.container[top.key] = value
            top.key = None

    def document(self, text: str) -> Document:
        if len(text) * 4 > MAX_BYTES and len(text.encode()) > MAX_BYTES:
            raise self.wrong(f"larger than {MAX_BYTES >> 20} MiB", self.line)
        return Document(self.root, self.source, self.line, self.lines)

    def wrong(self, reason: str, line: int, path: str = "") -> InvalidManifest:
        return wrong(reason, self.source, line, path=path)


def _resolved_or_text(text: str) -> Value:
    try:
        return resolve(text)
    except ValueError:
        return None  # a number, only not one that we take
