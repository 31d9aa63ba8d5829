"""Bytes from the system bus: they are read as jeepney reads them, or Malformed; bodies only on request."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from dbus_fast import Variant
from hypothesis import given
from hypothesis import strategies as st
from jeepney import DBusAddress, new_method_call, new_signal  # type: ignore[import-untyped]
from jeepney.low_level import Endianness, Message, MessageType  # type: ignore[import-untyped]

from tambourinefs.agent.dbus.messages import (
    HEADER_MAX,
    Malformed,
    Received,
    Stream,
    method_call,
)

RECORDED = Path(__file__).parent / "recorded" / "dbus"  # from systemd 252; one message a file
TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=9)
BASIC: Mapping[str, st.SearchStrategy[Any]] = {
    "y": st.integers(0, 2**8 - 1),
    "n": st.integers(-(2**15), 2**15 - 1),
    "q": st.integers(0, 2**16 - 1),
    "b": st.booleans(),
    "i": st.integers(-(2**31), 2**31 - 1),
    "u": st.integers(0, 2**32 - 1),
    "x": st.integers(-(2**63), 2**63 - 1),
    "t": st.integers(0, 2**64 - 1),
    "d": st.floats(allow_nan=False),
    "s": TEXT,
    "o": st.sampled_from(["/", "/org/freedesktop/systemd1/unit/a_2eservice"]),
    "g": st.sampled_from(["", "s", "a{sv}", "(iu)ai"]),
}
Typed = tuple[str, st.SearchStrategy[Any]]  # a signature, and values of it


def array(element: Typed) -> Typed:
    if element[0] == "y":
        return "ay", st.binary(max_size=5)
    return "a" + element[0], st.lists(element[1], max_size=3)


def record(fields: list[Typed]) -> Typed:
    kinds, values = zip(*fields, strict=True)
    return f"({''.join(kinds)})", st.tuples(*values)


def dictionary(key: str, value: Typed) -> Typed:
    return f"a{{{key}{value[0]}}}", st.dictionaries(BASIC[key], value[1], max_size=3)


def variant(held: Typed) -> Typed:
    return "v", held[1].map(lambda value: (held[0], value))


KEYS = st.sampled_from(sorted(set(BASIC) - {"d"}))
TYPES: st.SearchStrategy[Typed] = st.recursive(
    st.sampled_from(sorted(BASIC.items())),
    lambda inner: st.one_of(
        inner.map(array),
        st.lists(inner, min_size=1, max_size=4).map(record),
        st.builds(dictionary, KEYS, inner),
        inner.map(variant),
    ),
    max_leaves=8,
)


@st.composite
def sent(draw: st.DrawFn) -> bytes:
    """A message with generated values, in either order of bytes."""
    kinds = draw(st.lists(TYPES, max_size=4))
    signature = "".join(kind for kind, _ in kinds)
    body = tuple(draw(values) for _, values in kinds)
    message = new_signal(DBusAddress("/a/b", "c.d", "e.f"), "Changed", signature or None, body)
    message.header.endianness = draw(st.sampled_from(Endianness))
    data: bytes = message.serialise(serial=draw(st.integers(1, 2**32 - 1)))
    return data


def plain(value: Any) -> Any:
    """A value of dbus-fast as jeepney has it: variants are pairs of signature and value."""
    match value:
        case Variant():
            return value.signature, plain(value.value)
        case dict():
            return {key: plain(each) for key, each in value.items()}
        case list() | tuple():
            return type(value)(plain(each) for each in value)
        case bytearray():
            return bytes(value)
    return value


def recorded() -> list[Path]:
    return sorted(RECORDED.iterdir())


@given(sent())
def test_generated_values_are_read_as_jeepney_reads_them(data: bytes) -> None:
    assert plain(Received(data).body) == list(Message.from_buffer(data).body)


@pytest.mark.parametrize("path", recorded(), ids=lambda path: path.name)
def test_messages_of_systemd_are_read_as_jeepney_reads_them(path: Path) -> None:
    data = path.read_bytes()
    theirs, ours = Message.from_buffer(data), Received(data)
    assert plain(ours.body) == list(theirs.body)
    assert ours.header.message_type.value == theirs.header.message_type.value
    fields = {field.name: value for field, value in theirs.header.fields.items()}
    for name in ("path", "interface", "member", "error_name", "sender"):
        assert getattr(ours.header, name) == fields.get(name)
    assert ours.header.reply_serial == fields.get("reply_serial", 0)


def test_calls_are_written_as_jeepney_writes_them() -> None:
    body = (["a.service", "ü.service"], False, True)
    written = method_call(7, "a.b", "/c", "d.e", "EnableUnitFiles", "asbb", body)
    address = DBusAddress("/c", "a.b", "d.e")
    theirs = Message.from_buffer(
        new_method_call(address, "EnableUnitFiles", "asbb", body).serialise(serial=7)
    )
    ours = Message.from_buffer(written)
    assert ours.header.fields == theirs.header.fields
    assert (ours.header.serial, ours.body) == (7, theirs.body)


@pytest.mark.parametrize("member", ["", "a b", "x" * 300])
def test_a_call_of_an_impossible_method_is_a_value_error(member: str) -> None:
    with pytest.raises(ValueError, match="member"):
        method_call(1, "a.b", "/c", "d.e", member, "", ())


@given(st.lists(sent(), max_size=4), st.data())
def test_messages_do_not_depend_on_how_the_stream_is_cut(
    messages: list[bytes], data: st.DataObject
) -> None:
    joined = b"".join(messages)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(joined)), max_size=8)))
    stream, found = Stream(), []
    for begin, end in zip([0, *cuts], [*cuts, len(joined)], strict=True):
        found += [message.body for message in stream.feed(joined[begin:end])]
    assert plain(found) == plain([Received(message).body for message in messages])


@given(st.data())
def test_half_a_message_is_malformed(data: st.DataObject) -> None:
    message = data.draw(st.sampled_from(recorded())).read_bytes()
    half = message[: data.draw(st.integers(16, len(message) - 1))]
    with pytest.raises(Malformed):
        assert not Received(half).body


@pytest.mark.parametrize("start", [b"x\4\0\1", b"l\0\0\1", b"l\4\0\2", b"HTTP"])
def test_a_stream_of_another_protocol_is_malformed(start: bytes) -> None:
    with pytest.raises(Malformed, match="protocol 1"):
        list(Stream().feed(start + bytes(12)))


def written(fields: bytes, body: bytes) -> bytes:
    """A signal with these bytes for header fields."""
    header = b"l\4\0\1" + struct.pack("<III", len(body), 1, len(fields)) + fields
    return header.ljust((len(header) + 7) & -8, b"\0") + body


def with_body(signature: str, body: bytes) -> Received:
    """A message whose header is right."""
    fields = b"\x08\1g\0" + bytes([len(signature)]) + signature.encode() + b"\0"
    return Received(written(fields, body))


def nested(levels: int) -> bytes:
    """The body of a variant in a variant in a variant … that holds a byte."""
    return b"\1v\0" * levels + b"\1y\0\7"


def test_variants_nest_at_most_64_deep() -> None:
    assert with_body("v", nested(60)).body
    for levels in (70, 300_000):
        with pytest.raises(Malformed, match="exceeds maximum 64"):
            assert not with_body("v", nested(levels)).body


@pytest.mark.parametrize(
    ("signature", "body"),
    [
        ("s", struct.pack("<I", 2**31)),
        ("s", struct.pack("<I", 1) + b"\xff\0"),
        ("ay", struct.pack("<I", 2**26 + 1) + b"\0" * 9),
        ("at", struct.pack("<II", 2**31, 0) + b"\0" * 8),
        ("a{sv}", struct.pack("<II", 30, 0) + struct.pack("<I", 2**31) + b"\0" * 26),
        ("z", b"\0" * 400),
        ("a", b"\0" * 400),
        ("(s", b"\0" * 400),
        ("v", b"\1z\0" + b"\0" * 400),
    ],
)
def test_a_body_that_does_not_fit_its_signature_is_malformed_where_it_is_read(
    signature: str, body: bytes
) -> None:
    """Its header is read all the same: a signal of another user cannot end the connection."""
    message = with_body(signature, body)
    assert message.header.message_type.name == "SIGNAL"
    with pytest.raises(Malformed, match="cannot be read"):
        assert not message.body


def test_a_message_longer_than_the_specification_allows_is_not_waited_for() -> None:
    header = b"l\4\0\1" + struct.pack("<III", 2**27, 1, 0)
    with pytest.raises(Malformed, match="exceeds"):
        list(Stream().feed(header))


def test_a_header_longer_than_any_of_systemd_is_ignored() -> None:
    path = b"/" + b"a" * HEADER_MAX
    fields = b"\1\1o\0" + struct.pack("<I", len(path)) + path + b"\0"
    short = new_signal(DBusAddress("/a", "c.d", "e.f"), "M", "s", ("x",)).serialise(serial=1)
    assert [m.body for m in Stream().feed(written(fields, b"") + short)] == [["x"]]


def test_types_and_fields_of_later_versions_are_ignored() -> None:
    message = new_signal(DBusAddress("/a", "c.d", "e.f"), "M", "s", ("x",)).serialise(serial=1)
    later = bytearray(message)
    later[1] = 77
    assert MessageType.signal.value != 77
    field = bytearray(message)
    field[field.index(b"\3\1s\0")] = 99  # the member
    (found,) = Stream().feed(bytes(later + field))
    assert (found.header.member, found.body) == (None, ["x"])
