"""D-Bus messages as bytes: pure. dbus-fast reads and writes them; its connections need asyncio.

Any local user may send signals over the system bus, of up to 32 MiB. So a message is cut out of
the stream here and its header alone is read; the body is read where it is asked for, which is after
its sender is known to be the bus or systemd. dbus-fast must not be given what is not well-formed:
lengths near 2^32 make it crash. dbus-daemon(1) and dbus-broker(1) disconnect whoever sends that.

`Unmarshaller` and `Message._marshall` are not documented by dbus-fast, hence the upper bound on its
version in setup.cfg; tests/unit/test_systemd_messages.py holds them to the specification:
https://dbus.freedesktop.org/doc/dbus-specification.html#message-protocol
"""

from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING, Any, Final, cast

from dbus_fast import DBusFastError, Message, MessageType
from dbus_fast._private.unmarshaller import Unmarshaller

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MESSAGE_MAX: Final = 2**27  # bytes; the specification's
HEADER_MAX: Final = 2**16  # bytes; systemd's are below 2,000 (a unit's name has at most 255)
FIXED: Final = 16  # bytes, which tell how long the message is
TYPES: Final = frozenset(kind.value for kind in MessageType)
_ORDERS: Final = {ord("l"): "<", ord("B"): ">"}
_UNREADABLE: Final = (
    DBusFastError, EOFError, IndexError, KeyError, TypeError, ValueError, struct.error,
)  # fmt: skip


class Malformed(Exception):  # noqa: N818
    """These bytes are not a D-Bus message."""


class Received:
    """One message. `header` has its fields, None where the message has none, and no body."""

    __slots__ = ("_data", "header")

    def __init__(self, data: bytes) -> None:
        """`data` is one whole message. Raises Malformed."""
        end = _header_size(data)
        self._data = data
        self.header = _decode(data[:4] + bytes(4) + data[8:end])  # with a body of length 0

    @property
    def body(self) -> list[Any]:
        """Its values, read again each time: structs are tuples, variants dbus_fast.Variant.

        Raises Malformed.
        """
        return _decode(self._data).body


class Stream:
    """Cuts what is received into messages."""

    def __init__(self) -> None:
        self._pending = bytearray()

    def feed(self, data: bytes) -> Iterator[Received]:
        """The messages that these bytes complete, without those that a receiver has to ignore
        (types of later versions) and those with a header that is longer than HEADER_MAX.

        Raises Malformed; the stream cannot be used after that.
        """
        self._pending += data
        while len(self._pending) >= FIXED and len(self._pending) >= (size := _size(self._pending)):
            message = bytes(self._pending[:size])
            del self._pending[:size]
            if message[1] in TYPES and _header_size(message) <= HEADER_MAX:
                yield Received(message)


def method_call(
    serial: int, destination: str, path: str, interface: str, member: str, signature: str,
    body: Sequence[Any],
) -> bytes:  # fmt: skip
    """The bytes of a call. Raises ValueError where a name or value is not one of D-Bus."""
    try:
        message = Message(
            destination, path, interface, member, signature=signature, body=list(body),
            serial=serial,
        )  # fmt: skip
        return bytes(message._marshall(negotiate_unix_fd=False))
    except DBusFastError as error:
        raise ValueError(f"{member}: {error}") from error


def _decode(data: bytes) -> Message:
    try:
        message = Unmarshaller(cast("Any", io.BytesIO(data))).unmarshall()
    except _UNREADABLE as error:
        raise Malformed(f"a D-Bus message cannot be read: {error!r}") from error
    if message is None:
        raise Malformed(f"a D-Bus message ends after {len(data)} bytes")
    return message


def _order(data: bytes | bytearray) -> str:
    order = _ORDERS.get(data[0])
    if order is None or data[1] == 0 or data[3] != 1:
        raise Malformed(f"not a D-Bus message of protocol 1: {bytes(data[:4])!r}")
    return order


def _header_size(data: bytes | bytearray) -> int:
    """Bytes of the header with its padding."""
    (fields,) = struct.unpack_from(_order(data) + "I", data, 12)
    return int((FIXED + fields + 7) & -8)


def _size(data: bytearray) -> int:
    (body,) = struct.unpack_from(_order(data) + "I", data, 4)
    size = _header_size(data) + int(body)
    if size > MESSAGE_MAX:
        raise Malformed(f"a D-Bus message of {size} bytes exceeds {MESSAGE_MAX}")
    return size
