"""YAML to documents: libyaml composes nodes, and plain scalars get the types that kubectl gives them.

The table is that of sigs.k8s.io/yaml (goyaml.v2/resolve.go), so that one file means the same to both:
`no` and `off` are false, 0644 and 0o644 are 420, a date is a string. What kubectl guesses is refused:
a key that is not a string, a tag other than !!str, a merge key. Each use of an alias counts in full,
so that a small file cannot unfold into a large one.
"""

from __future__ import annotations

import re
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
# libyaml takes quadratic time for many %TAG.
_DIRECTIVE: Final = re.compile(r"^%(?!YAML[ \t])", re.MULTILINE)
_TOO_DEEP: Final = f"nested deeper than {MAX_DEPTH} levels"
_PLAIN: Final = "plain scalar"  # no tag of a file: it has a space
_STR: Final = "tag:yaml.org,2002:str"
_OF_CONTAINERS: Final = {None, "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"}


def resolve(text: str) -> Value:
    """The value of a plain scalar. Raises ValueError for a number that is infinite or too large."""
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
    """Whether a plain scalar of this text is the string itself."""
    try:
        return resolve(text) == text
    except ValueError:
        return False


def _integer(digits: str) -> int | float:
    """Base by prefix, as Go's ParseInt(…, 0, 64)."""
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
    """The documents of a YAML stream without the empty ones. Raises InvalidManifest."""
    text = decode(data, source, MAX_STREAM)
    if found := _DIRECTIVE.search(text):
        line = text.count("\n", 0, found.start()) + 1
        raise wrong("not YAML: only the directive %YAML is supported", source, line)
    loader = _Loader(text, source)
    count = 0
    try:
        while loader.check_node():
            root: Any = loader.get_node()
            count += 1
            if count > MAX_DOCUMENTS:
                raise wrong(f"more than {MAX_DOCUMENTS} documents", source)
            start, end = root.start_mark.index, root.end_mark.index
            if end - start > MAX_BYTES or len(text[start:end].encode()) > MAX_BYTES:
                raise wrong(f"larger than {MAX_BYTES >> 20} MiB", source, _line(root))
            reader = _Constructor(source)
            value = reader.value(root, 0)
            if value is not None:
                yield Document(value, source, _line(root), reader.lines)
    except yaml.YAMLError as error:
        raise _syntax_error(error, text, source) from error
    finally:
        loader.dispose()


class _Loader(yaml.CSafeLoader):
    """Composes nodes of bounded number and depth; an untagged plain scalar gets the tag _PLAIN."""

    def __init__(self, text: str, source: str) -> None:
        super().__init__(text)
        self.source = source
        self.depth = self.nodes = 0

    def resolve(self, kind: type[yaml.Node], value: Any, implicit: Any) -> Any:  # noqa: ARG002
        """The tag of a node that has none; `implicit` is (plain, quoted) for a scalar."""
        if kind is yaml.ScalarNode:
            return _PLAIN if implicit[0] else _STR
        return None

    def descend_resolver(self, parent: Any, index: Any) -> None:  # noqa: ARG002
        """Called by the composer before each node that is not an alias."""
        if parent is None:
            self.nodes = 0
        self.nodes += 1
        self.depth += 1
        line = _line(parent) if parent else 0
        if self.nodes > MAX_VALUES:
            raise wrong(f"more than {MAX_VALUES} values", self.source, line)
        if self.depth > MAX_DEPTH + 1:  # the scalars in the innermost container
            raise wrong(_TOO_DEEP, self.source, line)

    def ascend_resolver(self) -> None:
        """Called by the composer after each node that is not an alias."""
        self.depth -= 1


class _Constructor:
    """One document from nodes to plain data. An alias is converted again at each use.

    `line` is the last line reached; inside an alias, the line of the alias.
    """

    def __init__(self, source: str) -> None:
        self.source = source
        self.line = 0
        self.lines: dict[tuple[int, str | int], int] = {}
        self.values = 0
        self.size = 0

    def value(self, node: Any, depth: int) -> Value:
        """Raises InvalidManifest."""
        self.reach(node)
        if isinstance(node, yaml.ScalarNode):
            return self.scalar(node)
        if node.tag not in _OF_CONTAINERS:
            raise self.wrong(f"tag {node.tag} is not supported")
        if depth >= MAX_DEPTH:
            raise self.wrong(_TOO_DEEP)
        self.count(0)
        if isinstance(node, yaml.SequenceNode):
            return self.sequence(node, depth)
        return self.mapping(node, depth)

    def scalar(self, node: Any) -> Value:
        text = self.text(node)
        self.count(len(text))
        try:
            return resolve(text) if node.tag == _PLAIN else text
        except ValueError as error:
            raise self.wrong(str(error)) from None

    def text(self, node: Any) -> str:
        text: str = node.value
        if problem := text_problem(text):
            raise self.wrong(problem)
        if node.tag not in {_PLAIN, _STR}:
            raise self.wrong(f"tag {node.tag} is not supported")
        return text

    def sequence(self, node: Any, depth: int) -> Value:
        made: list[Value] = []
        for index, item in enumerate(node.value):
            self.lines[id(made), index] = self.reach(item)
            made.append(self.value(item, depth + 1))
        return made

    def mapping(self, node: Any, depth: int) -> Value:
        made: dict[str, Value] = {}
        for key_node, item in node.value:
            key = self.key(key_node)
            if key in made:
                raise self.wrong(f'duplicate field "{key[:64]}"', key[:64])
            self.lines[id(made), key] = self.line
            made[key] = self.value(item, depth + 1)
        return made

    def key(self, node: Any) -> str:
        self.reach(node)
        if not isinstance(node, yaml.ScalarNode):
            raise self.wrong("a key must be a string")
        key = self.text(node)
        if node.tag == _PLAIN:
            if key == "<<":
                raise self.wrong("merge keys (<<) are not supported: write the fields out")
            if not isinstance(_resolved_or_none(key), str):
                raise self.wrong(f"key {key[:64]} is not a string: put quotes around it")
        self.count(len(key))
        return key

    def count(self, size: int) -> None:
        self.values += 1
        self.size += size
        if self.values > MAX_VALUES:
            raise self.wrong(f"more than {MAX_VALUES} values, aliases unfolded")
        if self.size > MAX_BYTES:
            raise self.wrong(f"larger than {MAX_BYTES >> 20} MiB, aliases unfolded")

    def reach(self, node: Any) -> int:
        """The line of a node, or of the alias that refers to it."""
        self.line = max(self.line, _line(node))
        return self.line

    def wrong(self, reason: str, path: str = "") -> InvalidManifest:
        return wrong(reason, self.source, self.line, path=path)


def _line(node: Any) -> int:
    return int(node.start_mark.line) + 1


def _syntax_error(error: yaml.YAMLError, text: str, source: str) -> InvalidManifest:
    mark = getattr(error, "problem_mark", None)
    if mark is not None:
        reason = getattr(error, "problem", None) or "cannot be read"
        if "nesting depth" in reason:  # libyaml's own bound, which it may meet while it reads ahead
            reason = _TOO_DEEP
        return wrong(f"not YAML: {reason} (column {mark.column + 1})", source, mark.line + 1)
    reason = getattr(error, "reason", None) or "cannot be read"
    position = getattr(error, "position", 0)  # of a byte that YAML does not allow
    line = text.encode().count(b"\n", 0, max(position, 0)) + 1
    return wrong(f"not YAML: {reason}", source, line)


def _resolved_or_none(text: str) -> Value:
    try:
        return resolve(text)
    except ValueError:
        return None  # an unsupported number
