"""A client of the D-Bus system bus that comes back: jeepney on trio, and the only module that
imports it.

It knows messages, not systemd. Why not jeepney's own DBusRouter: its channels drop signals when
they are full, and its waiters end in KeyError instead of RouterClosed when the connection goes.
Here a signal is a synchronous call of `on_signal`, which cannot block and so cannot lose one; a
lost connection ends every waiting call in SystemdUnavailable.

Wire rules: D-Bus Specification, https://dbus.freedesktop.org/doc/dbus-specification.html
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import trio
from jeepney import DBusAddress, HeaderFields, MessageType, new_method_call  # type: ignore[import-untyped]
from jeepney.auth import BEGIN, AuthenticationError, Authenticator  # type: ignore[import-untyped]
from jeepney.bus import get_connectable_addresses  # type: ignore[import-untyped]
from jeepney.io.trio import DBusConnection  # type: ignore[import-untyped]

from tambourinefs.agent.ports import SystemdUnavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

log: Final = logging.getLogger(__name__)

DEFAULT_ADDRESS: Final = "unix:path=/run/dbus/system_bus_socket"
BUS: Final = "org.freedesktop.DBus"
BUS_PATH: Final = "/org/freedesktop/DBus"
CONNECT_TIMEOUT: Final = 10.0  # seconds for connect, authentication and Hello together
REPLY_TIMEOUT: Final = (
    30.0  # seconds; sd-bus uses 25. A PID 1 that needs longer is taken for frozen.
)
BACKOFF_FIRST: Final = 0.05  # seconds
BACKOFF_LAST: Final = 5.0
LOST: Final = (OSError, trio.BrokenResourceError, trio.ClosedResourceError, trio.EndOfChannel)
CLOSED: Final = b"ERROR closed during authentication\r\n"  # what an end of file is taken for
PIPELINE: Final = 64  # calls in flight; dbus-daemon's max_replies_per_connection is 128 for others, unbounded for root


@dataclass(frozen=True, slots=True)
class Signal:
    """A signal as it came. `sender` is a unique name such as ":1.7", or org.freedesktop.DBus: the
    bus vouches for it.
    """

    sender: str
    path: str
    interface: str
    member: str
    body: tuple[Any, ...]


class CallFailed(Exception):  # noqa: N818
    """The other side answered with an error. `name` is the D-Bus error name."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message or name)
        self.name = name
        self.message = message or name


def system_bus_address() -> str:
    """$DBUS_SYSTEM_BUS_ADDRESS, or the default of the specification."""
    return os.environ.get("DBUS_SYSTEM_BUS_ADDRESS") or DEFAULT_ADDRESS


def _socket_path(address: str) -> str:
    try:
        return str(next(get_connectable_addresses(address)))
    except (RuntimeError, ValueError, StopIteration) as error:
        raise SystemdUnavailable(f'D-Bus address "{address}" cannot be used: {error}') from error


def _ended(error: Exception) -> str:
    return f"connection to the system bus lost ({str(error) or type(error).__name__})"


async def _open(address: str) -> DBusConnection:
    """Connect and authenticate (EXTERNAL); the caller says Hello. Raises SystemdUnavailable."""
    path = _socket_path(address)
    sock = trio.socket.socket(trio.socket.AF_UNIX, trio.socket.SOCK_STREAM)
    try:
        await sock.connect(path)
        stream = trio.SocketStream(sock)
        await stream.send_all(b"\0")
        conversation = Authenticator(inc_null_byte=False)
        for line in conversation:
            await stream.send_all(line)
            received = await stream.receive_some()
            conversation.feed(received or CLOSED)
        await stream.send_all(BEGIN)
    except (OSError, trio.BrokenResourceError, AuthenticationError) as error:
        sock.close()
        raise SystemdUnavailable(f"cannot connect to the system bus at {path}: {error}") from error
    except BaseException:
        sock.close()
        raise
    return DBusConnection(sock)


class Connection:
    """One connection, from Hello to its loss. It is never used again after that."""

    def __init__(self, wire: DBusConnection, on_signal: Callable[[Signal], None]) -> None:
        self.unique_name = ""
        self.calls = 0  # made so far; tests count them
        self._wire = wire
        self._on_signal = on_signal
        self._waiting: dict[int, _Reply] = {}
        self._slots = trio.CapacityLimiter(PIPELINE)
        self._closed = ""  # why, once it is

    async def call(
        self,
        destination: str,
        path: str,
        interface: str,
        member: str,
        signature: str = "",
        *body: Any,
        within: float = REPLY_TIMEOUT,
    ) -> tuple[Any, ...]:
        """Call a method and return the values of its reply. `within` in seconds counts from
        sending.

        Raises CallFailed (an error came back) or SystemdUnavailable (connection lost, or no reply
        in time; in that case the connection is closed, so that whoever keeps it makes a new one).
        """
        address = DBusAddress(path, bus_name=destination, interface=interface or None)
        message = new_method_call(address, member, signature or None, body)
        async with self._slots:
            return await self._exchange(message, member, within)

    async def _exchange(self, message: Any, what: str, within: float) -> tuple[Any, ...]:
        if self._closed:
            raise SystemdUnavailable(f"{what}: {self._closed}")
        serial = next(self._wire.outgoing_serial)
        reply = self._waiting[serial] = _Reply()
        self.calls += 1
        sent = False
        try:
            with trio.move_on_after(within):
                sent = True  # from here on a part of it may have left
                await self._wire.send(message, serial=serial)
                await reply.event.wait()
        except LOST as error:
            self.close(_ended(error))
        finally:
            self._waiting.pop(serial, None)
        if reply.message is not None:
            return _body(reply.message)
        self.close(f"no reply within {within:g} s")
        raise SystemdUnavailable(f"{what}: {self._closed}", may_have_happened=sent)

    async def receive(self) -> None:
        """Read until the connection is lost, which is SystemdUnavailable. One task does this."""
        try:
            while True:
                self._dispatch(await self._wire.receive())
        except LOST as error:
            self.close(_ended(error))
            raise SystemdUnavailable(self._closed) from error
        finally:
            self.close("no connection")

    def _dispatch(self, message: Any) -> None:
        fields = message.header.fields
        if message.header.message_type is MessageType.signal:
            self._on_signal(
                Signal(
                    sender=fields.get(HeaderFields.sender, ""),
                    path=fields.get(HeaderFields.path, ""),
                    interface=fields.get(HeaderFields.interface, ""),
                    member=fields.get(HeaderFields.member, ""),
                    body=tuple(message.body),
                )
            )
            return
        reply = self._waiting.get(fields.get(HeaderFields.reply_serial, -1))
        if reply is not None:  # else: its caller has gone
            reply.message = message
            reply.event.set()

    def close(self, why: str) -> None:
        """Close the socket; every waiting call ends in SystemdUnavailable. The first reason stays."""
        self._closed = self._closed or why
        self._wire.socket.close()
        for reply in self._waiting.values():
            reply.event.set()


class _Reply:
    def __init__(self) -> None:
        self.event = trio.Event()
        self.message: Any = None


def _body(message: Any) -> tuple[Any, ...]:
    if message.header.message_type is MessageType.error:
        name = str(message.header.fields.get(HeaderFields.error_name, ""))
        text = message.body[0] if message.body and isinstance(message.body[0], str) else ""
        raise CallFailed(name, text)
    return tuple(message.body)


async def keep_connected(
    address: str,
    on_signal: Callable[[Signal], None],
    session: Callable[[Connection], Awaitable[None]],
) -> None:
    """Connect, run `session` on the connection until it is lost, and again, for ever.

    `session` may end in SystemdUnavailable at any time; anything else ends this task. The pause
    between two tries grows from 0.05 to 5 s and starts small again after each connection that held
    for a while. The first failure of an outage is logged, and its end.
    """
    pause, failing = BACKOFF_FIRST, False
    while True:
        began = trio.current_time()
        try:
            await _one_connection(address, on_signal, session)
        except SystemdUnavailable as error:
            log.log(logging.DEBUG if failing else logging.WARNING, "%s; trying again", error)
            failing = True
        if trio.current_time() - began > BACKOFF_LAST:
            pause, failing = BACKOFF_FIRST, False
        await trio.sleep(pause)
        pause = min(pause * 2, BACKOFF_LAST)


async def _one_connection(
    address: str,
    on_signal: Callable[[Signal], None],
    session: Callable[[Connection], Awaitable[None]],
) -> None:
    wire = None
    with trio.move_on_after(CONNECT_TIMEOUT):
        wire = await _open(address)
    if wire is None:
        raise SystemdUnavailable(
            f"the system bus at {address} did not answer in {CONNECT_TIMEOUT:g} s"
        )
    connection = Connection(wire, on_signal)
    lost: list[SystemdUnavailable] = []

    async def talk() -> None:
        try:
            (connection.unique_name,) = await connection.call(
                BUS, BUS_PATH, BUS, "Hello", within=CONNECT_TIMEOUT
            )
        except CallFailed as error:
            raise SystemdUnavailable(f"the system bus refused us: {error}") from error
        await session(connection)

    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_until_lost, connection.receive, nursery.cancel_scope, lost)
            nursery.start_soon(_until_lost, talk, nursery.cancel_scope, lost)
    finally:
        connection.close("no connection")
    if lost:
        raise lost[0]


async def _until_lost(
    run: Callable[[], Awaitable[None]],
    scope: trio.CancelScope,
    lost: list[SystemdUnavailable],
) -> None:
    """Whichever of the two tasks loses the connection first ends both, without an exception group."""
    try:
        await run()
    except SystemdUnavailable as error:
        lost.append(error)
    scope.cancel()
