"""Messages from a stream of D-Bus bytes: pure. A header is read at once, a body when somebody asks for it: most signals
are bells, of which the path says all.

Wire rules: D-Bus Specification, "Message Protocol". What a receiver must not know it must pass over: message types and
header fields of later versions.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, Final

from tambourinefs.agent.dbus.unmarshal import Malformed, chosen, reader

if TYPE_CHECKING:
    from collections.abc import Container, Iterator

    from tambourinefs.agent.dbus.unmarshal import Order

METHOD_RETURN: Final = 2
ERROR: Final = 3
SIGNAL: Final = 4
MESSAGE_MAX: Final = 2**27  # bytes
FIRST: Final = 16  # bytes, which tell how long the message is
_ORDERS: Final[dict[int, Order]] = {ord("l"): "<", ord("B"): ">"}
_FIELDS: Final = {
    1: ("path", "o"), 2: ("interface", "s"), 3: ("member", "s"), 4: ("error_name", "s"), 5: ("reply_serial", "u"),
    7: ("sender", "s"), 8: ("signature", "g"),
}  # fmt: skip


class Incoming:
    """One message, whole. `kind` is its type; `path`, `sender` and so on are "" where it has none."""

    __slots__ = (
        "_body_at", "_data", "_order", "error_name", "interface", "kind", "member", "path", "reply_serial", "sender",
        "signature",
    )  # fmt: skip

    def __init__(self, data: bytes) -> None:
        """Read the header. Raises Malformed."""
        self._data = data
        self._order = _order(data)
        self.kind = data[1]
        self.path = self.interface = self.member = self.error_name = self.sender = (
            self.signature
        ) = ""
        self.reply_serial = 0
        ((fields,), at) = reader("a(yv)", self._order)(data, 12)
        for code, (signature, value) in fields:
            name, expected = _FIELDS.get(code, ("", ""))
            if name:
                if signature != expected:
                    raise Malformed(
                        f'the header field {name} is of type "{signature}" instead of "{expected}"'
                    )
                setattr(self, name, value)
        self._body_at = (at + 7) & -8

    @property
    def body(self) -> tuple[Any, ...]:
        """All its values, read anew each time. Raises Malformed."""
        values, end = reader(self.signature, self._order)(self._data, self._body_at)
        self._whole(end)
        return values

    def properties(self, names: Container[bytes]) -> dict[str, tuple[str, Any]]:
        """Of a body that is one a{sv}, the entries with these names: (signature, value) by name. Raises Malformed."""
        if self.signature != "a{sv}":
            raise Malformed(f'properties are of type "a{{sv}}", not "{self.signature}"')
        found, end = chosen(self._data, self._body_at, self._order, names)
        self._whole(end)
        return found

    def _whole(self, end: int) -> None:
        if end != len(self._data):
            raise Malformed(f"a message of {len(self._data)} bytes has values of {end}")


class Messages:
    """What is received, cut into messages."""

    def __init__(self) -> None:
        self._pending = bytearray()

    def feed(self, data: bytes) -> Iterator[Incoming]:
        """The messages that these bytes complete. Raises Malformed, and never goes on after that."""
        self._pending += data
        while len(self._pending) >= FIRST and len(self._pending) >= (size := _size(self._pending)):
            message = bytes(self._pending[:size])
            del self._pending[:size]
            yield Incoming(message)


def _order(data: bytes | bytearray) -> Order:
    order = _ORDERS.get(data[0])
    if order is None or data[1] == 0 or data[3] != 1:
        raise Malformed(f"this is no D-Bus message of protocol 1: {bytes(data[:4])!r}")
    return order


def _size(data: bytearray) -> int:
    body, fields = struct.unpack_from(_order(data) + "4xI4xI", data)
    size = int(((FIRST + fields + 7) & -8) + body)
    if size > MESSAGE_MAX:
        raise Malformed(f"a message of {size} bytes is longer than any may be")
    return size
