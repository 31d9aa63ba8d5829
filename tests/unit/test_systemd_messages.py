"""Bytes from the system bus: what jeepney's own parser makes of them, or an error; never a loop, never something else."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from jeepney import DBusAddress, new_signal  # type: ignore[import-untyped]
from jeepney.low_level import Endianness, Message, MessageType  # type: ignore[import-untyped]

from tambourinefs.agent.dbus.incoming import Incoming, Messages
from tambourinefs.agent.dbus.unmarshal import Malformed
from tambourinefs.agent.units.properties import READ, to_unit

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


@st.composite
def properties(draw: st.DrawFn) -> tuple[bytes, dict[str, Any]]:
    typed = draw(st.dictionaries(TEXT, TYPES, max_size=6))
    values = {name: (kind, draw(value)) for name, (kind, value) in typed.items()}
    message = new_signal(DBusAddress("/a", "c.d", "e.f"), "Changed", "a{sv}", (values,))
    message.header.endianness = draw(st.sampled_from(Endianness))
    return message.serialise(serial=1), values


def recorded() -> list[Path]:
    return sorted(RECORDED.iterdir())


@given(sent())
def test_generated_values_are_read_as_jeepney_reads_them(data: bytes) -> None:
    assert Incoming(data).body == tuple(Message.from_buffer(data).body)


@given(properties(), st.data())
def test_chosen_properties_are_those_of_all(
    generated: tuple[bytes, dict[str, Any]], data: st.DataObject
) -> None:
    message, values = generated
    names = data.draw(st.sets(st.sampled_from(sorted(values)))) if values else set()
    found = Incoming(message).properties({name.encode() for name in names} | {b"none such"})
    assert found == {name: values[name] for name in names}


@pytest.mark.parametrize("path", recorded(), ids=lambda path: path.name)
def test_what_systemd_sent_is_read_as_jeepney_reads_it(path: Path) -> None:
    data = path.read_bytes()
    theirs, ours = Message.from_buffer(data), Incoming(data)
    assert ours.body == tuple(theirs.body)
    assert ours.kind == theirs.header.message_type.value
    fields = {field.name: value for field, value in theirs.header.fields.items()}
    for name in ("path", "interface", "member", "error_name", "sender", "signature"):
        assert getattr(ours, name) == fields.get(name, "")
    assert ours.reply_serial == fields.get("reply_serial", 0)


def test_a_unit_from_the_chosen_properties_is_the_unit_from_all() -> None:
    replies = [path for path in recorded() if path.name.startswith("GetAll")]
    assert len(replies) > 3
    for path in replies:
        message = Incoming(path.read_bytes())
        found, (every,) = message.properties(READ), message.body
        assert len(found) < len(every) / 3
        assert to_unit(path.name, found) == to_unit(path.name, every)


@given(st.lists(sent(), max_size=4), st.data())
def test_however_the_stream_is_cut_the_messages_are_the_same(
    messages: list[bytes], data: st.DataObject
) -> None:
    stream = b"".join(messages)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    receiver, found = Messages(), []
    for begin, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        found += [message.body for message in receiver.feed(stream[begin:end])]
    assert found == [Incoming(message).body for message in messages]


def read(data: bytes) -> None:
    """All that can be read of a message."""
    message = Incoming(data)
    assert message.kind
    assert len(repr(message.body)) < 1000 * len(data)
    if message.signature == "a{sv}":
        message.properties({b"Id"})


@given(st.one_of(sent(), properties().map(lambda both: both[0])), st.data())
def test_a_byte_that_is_wrong_is_another_value_or_malformed(
    message: bytes, data: st.DataObject
) -> None:
    broken = bytearray(message)
    for place in data.draw(st.lists(st.integers(0, len(message) - 1), min_size=1, max_size=4)):
        broken[place] = data.draw(st.integers(0, 255))
    try:
        read(bytes(broken))
    except Malformed:
        assume(bytes(broken) != message)


@given(st.data())
def test_half_a_message_is_malformed(data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(recorded()))
    message = path.read_bytes()
    assert Incoming(message).signature
    with pytest.raises(Malformed):
        read(message[: data.draw(st.integers(4, len(message) - 1))])


@given(st.binary(max_size=80))
@example(b"l\4\0\1" + b"\xff" * 12)
def test_any_bytes_are_messages_or_malformed(data: bytes) -> None:
    receiver = Messages()
    try:
        for message in receiver.feed(b"l\4\0\1" + data):
            assert message.body is not None
    except Malformed:
        return


def with_body(signature: str, body: bytes) -> Incoming:
    """A message whose header is right."""
    fields = b"\x08\1g\0" + bytes([len(signature)]) + signature.encode() + b"\0"
    header = b"l\4\0\1" + struct.pack("<III", len(body), 1, len(fields)) + fields
    return Incoming(header.ljust((len(header) + 7) & -8, b"\0") + body)


def nested(levels: int) -> bytes:
    """The body of a variant in a variant in a variant … that holds a byte."""
    return b"\1v\0" * levels + b"\1y\0\7"


def test_what_is_in_64_variants_is_read_and_no_more() -> None:
    assert with_body("v", nested(60)).body
    for levels in (70, 300_000):
        with pytest.raises(Malformed, match="more than 64"):
            assert not with_body("v", nested(levels)).body


@pytest.mark.parametrize(
    "signature",
    ["h", "z", "(", ")", "()", "a", "a{}", "a{s}", "a{sss}", "a{vs}", "a{(s)s}", "{ss}", "(s", "a" * 33 + "y",
     "(" * 33 + "y" + ")" * 33, "y" * 250 + "(yyyy"],
)  # fmt: skip
def test_a_signature_that_is_none_is_malformed(signature: str) -> None:
    held = bytes([len(signature)]) + signature.encode() + b"\0" * 400
    for message in (with_body(signature, b"\0" * 400), with_body("v", held)):
        with pytest.raises(Malformed, match=r"signature|type|dictionary"):
            assert not message.body


@pytest.mark.parametrize(
    ("signature", "body"),
    [
        ("s", struct.pack("<I", 2**32 - 1)),
        ("s", struct.pack("<I", 1) + b"ab"),
        ("s", struct.pack("<I", 1) + b"\xff\0"),
        ("ay", struct.pack("<I", 2**26 + 1) + b"\0" * 9),
        ("ay", struct.pack("<I", 9) + b"\0" * 8),
        ("as", struct.pack("<II", 5, 5) + b"12345\0"),
        ("at", struct.pack("<II", 4, 0) + b"\0" * 8),
        ("y", b"\0\0"),
        ("a{sv}", struct.pack("<II", 30, 0) + struct.pack("<I", 2**31) + b"\0" * 26),
    ],
)
def test_a_length_that_is_wrong_is_malformed(signature: str, body: bytes) -> None:
    message = with_body(signature, body)
    with pytest.raises(Malformed, match=r"fit|end|long|has values"):
        assert not message.body
    if signature == "a{sv}":
        with pytest.raises(Malformed, match="fit"):
            message.properties({b"Id"})


def test_properties_that_are_passed_over_are_held_to_their_lengths() -> None:
    entry = struct.pack("<I", 1) + b"N\0" + b"\1s\0" + b"\0\0\0"
    for length in (2**32 - 1, 8):
        body = struct.pack("<II", 22, 0) + entry + struct.pack("<I", length) + b"a\0"
        with pytest.raises(Malformed):
            with_body("a{sv}", body).properties(frozenset())
    body = struct.pack("<II", 18, 0) + entry + struct.pack("<I", 1) + b"a\0"
    assert with_body("a{sv}", body).properties({b"N"}) == {"N": ("s", "a")}
    with pytest.raises(Malformed, match='not "s"'):
        with_body("s", struct.pack("<I", 1) + b"a\0").properties({b"N"})


def test_a_message_longer_than_any_may_be_is_not_waited_for() -> None:
    header = b"l\4\0\1" + struct.pack("<III", 2**27, 1, 0)
    with pytest.raises(Malformed, match="longer than any may be"):
        list(Messages().feed(header))


def test_types_and_fields_of_later_versions_are_passed_over() -> None:
    message = new_signal(DBusAddress("/a", "c.d", "e.f"), "M", "s", ("x",))
    data = bytearray(message.serialise(serial=1))
    data[1] = 77
    place = data.index(b"\3\1s\0")  # the member
    data[place] = 99
    assert MessageType.signal.value != 77
    found = Incoming(bytes(data))
    assert (found.kind, found.member, found.body) == (77, "", ("x",))
