"""D-Bus values from their bytes: pure, and as little work as the asker needs. jeepney's parser takes 1.6 ms for all
properties of one unit, which was half of the agent's processor time; this 0.3 ms for those that somebody reads, since a
length says where the next begins.

A signature is compiled once to a function that reads a value and to one that steps over it. Positions count from the
message's first byte, since alignment does. Whatever does not fit is Malformed: no loop, no recursion without a bound, and
no read beyond the message.

Wire rules: D-Bus Specification, "Type System" and "Marshaling (Wire Format)",
https://dbus.freedesktop.org/doc/dbus-specification.html
"""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Container

Order: TypeAlias = Literal["<", ">"]  # of bytes, as struct writes it
Read: TypeAlias = "Callable[[bytes, int, int], tuple[Any, int]]"  # bytes, position, depth
Step: TypeAlias = "Callable[[bytes, int], int]"  # of one kind of value: to where it ends

SIGNATURE_MAX: Final = 255  # bytes
NESTED_MAX: Final = 32  # arrays in a signature, and structs
DEPTH_MAX: Final = 64  # containers around a variant
ARRAY_MAX: Final = 2**26  # bytes
FIXED: Final = dict(
    zip("ynqbiuxtd", "BhHIiIqQd", strict=True)
)  # no "h": descriptors are not negotiated
ALIGNMENT: Final = {"s": 4, "o": 4, "g": 1, "v": 1, "a": 4, "(": 8, "{": 8}
KEYS: Final = frozenset("ynqbiuxtdsog")  # what may be the key of a dictionary


class Malformed(ValueError):  # noqa: N818
    """Bytes that are no D-Bus message. Nothing after them can be believed."""


def reader(signature: str, order: Order) -> Callable[[bytes, int], tuple[tuple[Any, ...], int]]:
    """What reads the values of this signature at a position: a tuple of them, and where they end.

    Types as jeepney gives them: list, dict, tuple for a struct, bytes for an array of bytes, (signature, value) for a
    variant. It raises Malformed, and so does this where the signature is none.
    """
    reads = [read for read, _ in _compiled(signature, order)]

    def values(data: bytes, at: int) -> tuple[tuple[Any, ...], int]:
        found = []
        try:
            for read in reads:
                value, at = read(data, at, 0)
                found.append(value)
        except (struct.error, IndexError, UnicodeDecodeError) as error:
            raise Malformed(f'values of type "{signature}" do not fit: {error}') from error
        return tuple(found), at

    return values


def chosen(
    data: bytes, at: int, order: Order, names: Container[bytes]
) -> tuple[dict[str, tuple[str, Any]], int]:
    """Of the a{sv} at a position, the entries with these names; and where it ends. Raises Malformed."""
    found: dict[str, tuple[str, Any]] = {}
    length_at = struct.Struct(order + "I").unpack_from
    try:
        at, end = _array(data, at, length_at, 8)
        while at < end:
            at = (at + 7) & -8
            name_end = at + 4 + length_at(data, at)[0]
            name = data[at + 4 : name_end]
            value_at = name_end + 3 + data[name_end + 1]
            signature = data[name_end + 2 : value_at - 1]
            read, step = _single(signature, order)
            if name in names:
                value, at = read(data, value_at, 2)
                found[name.decode()] = (signature.decode(), value)
            else:
                at = step(data, value_at)
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        raise Malformed(f"a dictionary of properties does not fit: {error}") from error
    _ended(at, end)
    return found, at


def _ended(at: int, end: int) -> None:
    if at != end:
        raise Malformed(f"an array that should end at byte {end} ends at {at}")


def _array(
    data: bytes, at: int, length_at: Callable[[bytes, int], tuple[Any, ...]], alignment: int
) -> tuple[int, int]:
    """Begin and end of the array at a position."""
    at = (at + 3) & -4
    length = length_at(data, at)[0]
    begin = (at + 3 + alignment) & -alignment if alignment > 4 else at + 4
    if length > ARRAY_MAX or begin + length > len(data):
        raise Malformed(
            f"an array of {length} bytes at byte {at} is longer than its message, or than any may be"
        )
    return begin, begin + length


# -- signatures


@lru_cache(maxsize=512)
def _compiled(signature: str, order: Order) -> tuple[tuple[Read, Step], ...]:
    if len(signature) > SIGNATURE_MAX:
        raise Malformed("a signature is longer than 255 bytes")
    kinds, rest = [], signature
    while rest:
        kind, rest = _split(rest, 0, 0)
        kinds.append(_kind(kind, order))
    return tuple(kinds)


@lru_cache(maxsize=512)
def _single(written: bytes, order: Order) -> tuple[Read, Step]:
    """Of a variant, which holds one value."""
    signature = written.decode()
    kinds = _compiled(signature, order)
    if len(kinds) != 1:
        raise Malformed(f'a variant of "{signature}" does not hold one value')
    return kinds[0]


def _split(signature: str, arrays: int, structs: int) -> tuple[str, str]:
    """The first complete type of a signature, and the rest of it."""
    if arrays > NESTED_MAX or structs > NESTED_MAX:
        raise Malformed(f"a signature nests more than {NESTED_MAX} arrays or structs")
    first, rest = signature[:1], signature[1:]
    if first in FIXED or first in ("s", "o", "g", "v"):
        return first, rest
    if first == "a" and rest[:1] == "{":
        key, (value, after) = rest[1:2], _split(rest[2:], arrays + 1, structs + 1)
        if key not in KEYS or after[:1] != "}":
            raise Malformed(f'"{signature}" has no dictionary where it should')
        return f"a{{{key}{value}}}", after[1:]
    if first == "a":
        element, rest = _split(rest, arrays + 1, structs)
        return "a" + element, rest
    if first == "(":
        fields = ""
        while rest[:1] != ")":
            field, rest = _split(rest, arrays, structs + 1)
            fields += field
        if fields:
            return f"({fields})", rest[1:]
    raise Malformed(f'"{signature}" is not a type')


def _kind(kind: str, order: Order) -> tuple[Read, Step]:
    """What reads one complete type, and what steps over it."""
    first = kind[0]
    if first in FIXED:
        return _fixed(kind, order)
    if first in "so":
        return _text(order)
    if first == "g":
        return _read_signature, _step_signature
    if first == "v":
        return _variant(order)
    if first == "a":
        return _many(kind[1:], order)
    return _struct(kind[1:-1], order)


def _fixed(kind: str, order: Order) -> tuple[Read, Step]:
    one = struct.Struct(order + FIXED[kind])
    value_at, size, up = one.unpack_from, one.size, one.size - 1  # a size is its alignment
    boolean = kind == "b"

    def read(data: bytes, at: int, _depth: int) -> tuple[Any, int]:
        at = (at + up) & -size
        (value,) = value_at(data, at)
        return bool(value) if boolean else value, at + size

    def step(_data: bytes, at: int) -> int:
        return ((at + up) & -size) + size

    return read, step


def _text(order: Order) -> tuple[Read, Step]:
    length_at = struct.Struct(order + "I").unpack_from

    def read(data: bytes, at: int, _depth: int) -> tuple[str, int]:
        begin = ((at + 3) & -4) + 4
        end = begin + length_at(data, begin - 4)[0]
        if data[end]:
            raise Malformed(f"a text at byte {begin} has no end")
        return data[begin:end].decode(), end + 1

    def step(data: bytes, at: int) -> int:
        at = (at + 3) & -4
        return int(at + 5 + length_at(data, at)[0])

    return read, step


def _read_signature(data: bytes, at: int, _depth: int) -> tuple[str, int]:
    end = at + 1 + data[at]
    if data[end]:
        raise Malformed(f"a signature at byte {at} has no end")
    return data[at + 1 : end].decode(), end + 1


def _step_signature(data: bytes, at: int) -> int:
    return at + 2 + data[at]


def _variant(order: Order) -> tuple[Read, Step]:
    def read(data: bytes, at: int, depth: int) -> tuple[tuple[str, Any], int]:
        if depth > DEPTH_MAX:
            raise Malformed(f"a variant is in more than {DEPTH_MAX} others")
        signature, at = _read_signature(data, at, depth)
        value, at = _single(signature.encode(), order)[0](data, at, depth + 1)
        return (signature, value), at

    def step(data: bytes, at: int) -> int:
        return read(data, at, 0)[1]  # rare: none of systemd's properties has one

    return read, step


def _many(element: str, order: Order) -> tuple[Read, Step]:
    entry = element[0] == "{"
    read_one = _struct(element[1:-1], order)[0] if entry else _kind(element, order)[0]
    alignment = ALIGNMENT.get(element[0]) or struct.calcsize(FIXED[element[0]])
    length_at = struct.Struct(order + "I").unpack_from

    def read(data: bytes, at: int, depth: int) -> tuple[Any, int]:
        at, end = _array(data, at, length_at, alignment)
        if element == "y":
            return data[at:end], end
        found = []
        while at < end:
            value, at = read_one(data, at, depth + 1)
            found.append(value)
        _ended(at, end)
        return dict(found) if entry else found, at

    def step(data: bytes, at: int) -> int:
        return _array(data, at, length_at, alignment)[1]

    return read, step


def _struct(fields: str, order: Order) -> tuple[Read, Step]:
    kinds = _compiled(fields, order)
    reads, steps = [read for read, _ in kinds], [step for _, step in kinds]

    def read(data: bytes, at: int, depth: int) -> tuple[tuple[Any, ...], int]:
        at = (at + 7) & -8
        found = []
        for read_one in reads:
            value, at = read_one(data, at, depth + 1)
            found.append(value)
        return tuple(found), at

    def step(data: bytes, at: int) -> int:
        at = (at + 7) & -8
        for step_one in steps:
            at = step_one(data, at)
        return at

    return read, step
