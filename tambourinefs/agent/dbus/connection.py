"""A client of the D-Bus system bus that comes back: jeepney on trio, and the only module that
imports it.

It knows messages, not systemd. Why not jeepney's own DBusRouter: its channels drop signals when
they are full, and its waiters end in KeyError instead of RouterClosed when the connection goes.
Here a signal is a synchronous call of `on_signal`, which cannot block and so cannot lose one; a
lost connection ends every waiting call in SystemdUnavailable. What comes in is read by incoming.py,
which does a fifth of the work of jeepney's parser; what it cannot read ends the connection too.

Wire rules: D-Bus Specification, https://dbus.freedesktop.org/doc/dbus-specification.html
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Any, Final, TypeVar

import trio
from jeepney import DBusAddress, new_method_call  # type: ignore[import-untyped]
from jeepney.auth import BEGIN, AuthenticationError, Authenticator  # type: ignore[import-untyped]
from jeepney.bus import get_connectable_addresses  # type: ignore[import-untyped]
from jeepney.io.trio import DBusConnection  # type: ignore[import-untyped]

from tambourinefs.agent.dbus.incoming import ERROR, METHOD_RETURN, SIGNAL, Incoming, Messages
from tambourinefs.agent.dbus.unmarshal import Malformed
from tambourinefs.agent.ports import SystemdUnavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Container

_Read = TypeVar("_Read")

log: Final = logging.getLogger(__name__)

DEFAULT_ADDRESS: Final = "unix:path=/run/dbus/system_bus_socket"
BUS: Final = "org.freedesktop.DBus"
BUS_PATH: Final = "/org/freedesktop/DBus"
PROPERTIES: Final = "org.freedesktop.DBus.Properties"
CONNECT_TIMEOUT: Final = 10.0  # seconds for connect, authentication and Hello together
REPLY_TIMEOUT: Final = (
    30.0  # seconds; sd-bus uses 25. A PID 1 that needs longer is taken for frozen.
)
BACKOFF_FIRST: Final = 0.05  # seconds
BACKOFF_LAST: Final = 5.0
LOST: Final = (OSError, trio.BrokenResourceError, trio.ClosedResourceError, trio.EndOfChannel)
CLOSED: Final = b"ERROR closed during authentication\r\n"  # what an end of file is taken for
RECEIVED: Final = (
    65536  # bytes at once, where there are so many; all properties of a unit are 14,000
)
PIPELINE: Final = 64  # calls in flight; dbus-daemon's max_replies_per_connection is 128 for others, unbounded for root


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

    def __init__(self, wire: DBusConnection, on_signal: Callable[[Incoming], None]) -> None:
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
        in time, or one that cannot be read; in these cases the connection is closed, so that
        whoever keeps it makes a new one).
        """
        address = DBusAddress(path, bus_name=destination, interface=interface or None)
        message = new_method_call(address, member, signature or None, body)
        return await self._exchange(message, member, within, lambda reply: reply.body)

    async def properties(
        self, destination: str, path: str, names: Container[bytes], *, within: float = REPLY_TIMEOUT
    ) -> dict[str, tuple[str, Any]]:
        """Of all properties of an object, of all its interfaces, those with these names, each a (signature, value).
        Errors: as call().
        """
        message = new_method_call(DBusAddress(path, destination, PROPERTIES), "GetAll", "s", ("",))
        return await self._exchange(
            message, "GetAll", within, lambda reply: reply.properties(names)
        )

    async def _exchange(
        self, message: Any, what: str, within: float, read: Callable[[Incoming], _Read]
    ) -> _Read:
        async with self._slots:
            reply = await self._reply(message, what, within)
        try:
            if reply.kind == ERROR:
                raise _failure(reply)
            return read(reply)
        except Malformed as error:
            self.close(f"a reply cannot be read: {error}")
            raise SystemdUnavailable(f"{what}: {self._closed}", may_have_happened=True) from error

    async def _reply(self, message: Any, what: str, within: float) -> Incoming:
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
            return reply.message
        self.close(f"no reply within {within:g} s")
        raise SystemdUnavailable(f"{what}: {self._closed}", may_have_happened=sent)

    async def receive(self) -> None:
        """Read until the connection is lost, which is SystemdUnavailable. One task does this."""
        messages = Messages()
        try:
            while received := await self._wire.socket.recv(RECEIVED):
                for message in messages.feed(received):
                    self._dispatch(message)
            raise trio.EndOfChannel("closed at the other end")
        except (*LOST, Malformed) as error:
            self.close(_ended(error))
            raise SystemdUnavailable(self._closed) from error
        finally:
            self.close("no connection")

    def _dispatch(self, message: Incoming) -> None:
        if message.kind == SIGNAL:
            self._on_signal(message)
        elif message.kind in (METHOD_RETURN, ERROR):
            reply = self._waiting.get(message.reply_serial)
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
        self.message: Incoming | None = None


def _failure(message: Incoming) -> CallFailed:
    """The error that a reply is. Raises Malformed."""
    first, *_ = *message.body, ""
    return CallFailed(message.error_name, first if isinstance(first, str) else "")


async def keep_connected(
    address: str,
    on_signal: Callable[[Incoming], None],
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
    on_signal: Callable[[Incoming], None],
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
