"""Bytes to plain data within bounds: what YAML and JSON have in common, and the reader of JSON.

A document's strings have no NUL and no lone surrogate, its numbers are finite, its depth, size and
number of values are bounded, its keys are unique strings. Other input is InvalidManifest.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Final, TypeAlias, Union

from tambourinefs.errors import InvalidManifest
from tambourinefs.model.names import printable

MAX_BYTES: Final = 1 << 20  # of one manifest
MAX_DEPTH: Final = 64  # managedFields, the deepest that an API server sends, needs about 15
MAX_VALUES: Final = 50_000  # in one document, keys counted
MAX_SHOWN: Final = 300  # characters of a reason or a field
MAX_DIGITS: Final = 18  # of an integer: fits 64 bits

Value: TypeAlias = Union[bool, int, float, str, list["Value"], dict[str, "Value"], None]  # noqa: UP007  (recursive)

_Path: TypeAlias = Union[tuple["_Path", "str | int"], None]  # noqa: UP007  (recursive)

_STEP: Final = re.compile(r"\[(\d+)\]|([^.\[\]]+)")
_NOT_TEXT: Final = re.compile("[\0\ud800-\udfff]")
_JSON_STRING: Final = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"?', re.DOTALL)  # always matches: linear
_BRACKET: Final = re.compile(r"[\[\]{}]")


@dataclass(frozen=True, slots=True)
class Document:
    """One document. `lines`: lines (from 1) by (id of the container, key or index); none for JSON."""

    data: Value
    source: str
    line: int = 0
    lines: dict[tuple[int, str | int], int] = field(default_factory=dict)

    def wrong(self, reason: str, path: str = "", hint: str = "") -> InvalidManifest:
        """The error for the value at `path`, such as `spec.files[1].mode`."""
        return wrong(reason, self.source, self.line_of(path), path=path, hint=hint)

    def line_of(self, path: str) -> int:
        """The line of the value at `path` or of its nearest parent; 0 if lines are not known."""
        here, line = self.data, self.line
        for index, name in _STEP.findall(path):
            step = int(index) if index else name
            line = self.lines.get((id(here), step), line)
            here = _inside(here, step)
        return line


def _inside(value: Value, step: str | int) -> Value:
    if isinstance(value, dict) and isinstance(step, str):
        return value.get(step)
    if isinstance(value, list) and isinstance(step, int) and step < len(value):
        return value[step]
    return None


def wrong(
    reason: str, source: str, line: int = 0, *, path: str = "", hint: str = ""
) -> InvalidManifest:
    """InvalidManifest with the source `file:line`, as in compilers."""
    where = f"{source}:{line}" if source and line else source
    return InvalidManifest(_shown(reason), source=where, field=_shown(path), hint=hint)


def _shown(text: str) -> str:
    """Untrusted text, escaped and cut for an error message."""
    text = printable(text[:MAX_SHOWN])
    return text if len(text) < MAX_SHOWN else text[: MAX_SHOWN - 1] + "…"


def decode(data: bytes, source: str, limit: int) -> str:
    """The text of at most `limit` bytes: UTF-8 without a byte order mark and without NUL."""
    if len(data) > limit:
        raise wrong(f"larger than {limit >> 20} MiB ({len(data)} bytes)", source)
    if data.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
        raise wrong("begins with a byte order mark: save it as UTF-8 without one", source, 1)
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise wrong(f"not UTF-8: byte {data[error.start]:#04x}", source, line) from error
    if "\0" in text:
        raise wrong("contains a NUL", source, text.count("\n", 0, text.index("\0")) + 1)
    return text


def text_problem(text: str) -> str:
    """What is wrong with a string for files and systemd; "" if nothing."""
    found = _NOT_TEXT.search(text)
    if not found:
        return ""
    return "contains a NUL" if found[0] == "\0" else "contains half of a surrogate pair"


def from_json(data: bytes, source: str) -> Document:
    """The one document in `data`, which is JSON after RFC 8259. Raises InvalidManifest."""
    text = decode(data, source, MAX_BYTES)
    if not text.strip():
        raise wrong("is empty", source)
    _bound_depth(text, source)
    try:
        value = json.loads(
            text,
            object_pairs_hook=_object,
            parse_int=_integer,
            parse_float=_number,
            parse_constant=_constant,
        )
    except json.JSONDecodeError as error:
        at = f"(line {error.lineno}, column {error.colno})"
        raise wrong(f"not JSON: {error.msg} {at}", source) from error
    except _Refused as error:
        raise wrong(error.reason, source, path=error.field) from None
    document = Document(value, source)
    _check_values(document)
    return document


class _Refused(Exception):  # noqa: N818
    """Carries a reason out of the hooks of json, which do not know the source."""

    def __init__(self, reason: str, field: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.field = field


def _object(pairs: list[tuple[str, Value]]) -> dict[str, Value]:
    made = dict(pairs)
    if len(made) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise _Refused(f'duplicate field "{twice[:64]}"', twice[:64])
    return made


def _integer(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise _Refused(f"number {text[:MAX_DIGITS]}… is too large")
    return int(text)


def _number(text: str) -> float:
    value = float(text)
    if value in {float("inf"), float("-inf")}:
        raise _Refused(f"number {text[:MAX_DIGITS]} is too large")
    return value


def _constant(text: str) -> float:
    raise _Refused(f"{text} is not a JSON value")


def _bound_depth(text: str, source: str) -> None:
    """Checked before json parses the text, since json recurses at each level."""
    depth = 0
    for bracket in _BRACKET.finditer(_JSON_STRING.sub("", text)):
        depth += 1 if bracket[0] in "[{" else -1
        if depth > MAX_DEPTH:
            raise wrong(f"nested deeper than {MAX_DEPTH} levels", source)


def _check_values(document: Document) -> None:
    """Bound strings and the number of values, without recursion."""
    waiting: list[tuple[Value, _Path]] = [(document.data, None)]
    count = 0
    while waiting:
        value, path = waiting.pop()
        count += 1
        if count > MAX_VALUES:
            raise document.wrong(f"more than {MAX_VALUES} values")
        if isinstance(value, str) and (problem := text_problem(value)):
            raise document.wrong(problem, _written(path))
        if isinstance(value, list):
            waiting.extend((item, (path, index)) for index, item in enumerate(value))
        elif isinstance(value, dict):
            for key, item in value.items():
                if problem := text_problem(key):
                    raise document.wrong(f"a field's name {problem}", _written(path))
                waiting.append((item, (path, key)))
            count += len(value)


def _written(path: _Path) -> str:
    """`spec.files[1]`. Paths are linked pairs until one is needed: keys may be long."""
    steps: list[str] = []
    while path is not None:
        path, step = path
        steps.append(f"[{step}]" if isinstance(step, int) else f".{step[:64]}")
    return "".join(reversed(steps)).removeprefix(".")
