"""A connection to the D-Bus system bus, on trio.

It knows messages, not systemd. A signal is a synchronous call of `on_signal`: there is no queue
that could overflow or grow. A lost connection ends every waiting call in SystemdUnavailable, and so
does a message that cannot be read.

Authentication (EXTERNAL) and addresses: https://dbus.freedesktop.org/doc/dbus-specification.html
"""

from __future__ import annotations

import itertools
import logging
import os
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

import trio
from dbus_fast import MessageType

from tambourinefs.agent.dbus.messages import Malformed, Received, Stream, method_call
from tambourinefs.agent.ports import SystemdUnavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

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
LINE_MAX: Final = 16384  # bytes of an answer during authentication
RECEIVED: Final = (
    65536  # bytes at once, where there are so many; all properties of a unit are 14,000
)
PIPELINE: Final = 64  # calls in progress; dbus-daemon's max_replies_per_connection is 128 for others, unbounded for root


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
    """The first Unix socket of a D-Bus address, abstract ones with a leading NUL."""
    for entry in address.split(";"):
        transport, _, written = entry.partition(":")
        options = dict(option.partition("=")[::2] for option in written.split(","))
        if transport == "unix" and "path" in options:
            return unquote(options["path"])
        if transport == "unix" and "abstract" in options:
            return "\0" + unquote(options["abstract"])
    raise SystemdUnavailable(f'D-Bus address "{address}" names no Unix socket')


def _ended(error: Exception) -> str:
    return f"connection to the system bus lost ({str(error) or type(error).__name__})"


async def _open(address: str) -> trio.SocketStream:
    """Connect and authenticate; the caller says Hello. Raises SystemdUnavailable."""
    path = _socket_path(address)
    stream = trio.SocketStream(trio.socket.socket(trio.socket.AF_UNIX, trio.socket.SOCK_STREAM))
    try:
        await stream.socket.connect(path)
        await _authenticate(stream)
    except (OSError, trio.BrokenResourceError) as error:
        stream.socket.close()
        raise SystemdUnavailable(f"cannot connect to the system bus at {path}: {error}") from error
    except BaseException:
        stream.socket.close()
        raise
    return stream


async def _authenticate(stream: trio.SocketStream) -> None:
    user = str(os.geteuid()).encode().hex()
    await stream.send_all(f"\0AUTH EXTERNAL {user}\r\n".encode())
    answer = b""
    while not answer.endswith(b"\r\n") and len(answer) < LINE_MAX:
        answer += (received := await stream.receive_some())
        if not received:
            raise trio.BrokenResourceError("closed during authentication")
    if not answer.startswith(b"OK "):
        raise trio.BrokenResourceError(f"authentication failed: {answer[:80]!r}")
    await stream.send_all(b"BEGIN\r\n")


class Connection:
    """One connection, from Hello to its loss. It is never used again after that."""

    def __init__(
        self, socket: trio.socket.SocketType, on_signal: Callable[[Received], None]
    ) -> None:
        self._socket = socket
        self._on_signal = on_signal
        self._serials = itertools.count(1)
        self._waiting: dict[int, _Reply] = {}
        self._slots = trio.CapacityLimiter(PIPELINE)
        self._sending = trio.Lock()
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
    ) -> list[Any]:
        """Call a method and return the values of its reply. `within` in seconds counts from
        sending.

        Raises CallFailed (an error came back) or SystemdUnavailable (connection lost, or no reply
        in time, or one that cannot be read; in these cases the connection is closed, and
        keep_connected() makes a new one).
        """
        data = method_call(
            serial := next(self._serials), destination, path, interface, member, signature, body
        )
        async with self._slots:
            reply = await self._reply(serial, data, member, within)
        try:
            values = reply.body
        except Malformed as error:
            self.close(f"a reply cannot be read: {error}")
            raise SystemdUnavailable(f"{member}: {self._closed}", may_have_happened=True) from error
        if reply.header.message_type is MessageType.ERROR:
            text = values[0] if values and isinstance(values[0], str) else ""
            raise CallFailed(reply.header.error_name or "", text)
        return values

    async def _reply(self, serial: int, data: bytes, what: str, within: float) -> Received:
        if self._closed:
            raise SystemdUnavailable(f"{what}: {self._closed}")
        reply = self._waiting[serial] = _Reply()
        sent = False
        try:
            with trio.move_on_after(within):
                async with self._sending:
                    sent = True  # from here on a part of it may have left
                    await self._send(data)
                await reply.event.wait()
        except LOST as error:
            self.close(_ended(error))
        finally:
            self._waiting.pop(serial, None)
        if reply.message is not None:
            return reply.message
        self.close(f"no reply within {within:g} s")
        raise SystemdUnavailable(f"{what}: {self._closed}", may_have_happened=sent)

    async def _send(self, data: bytes) -> None:
        left = memoryview(data)
        while left:
            try:
                left = left[await self._socket.send(left) :]
            except trio.Cancelled:
                if len(left) < len(data):  # what follows would be read as the rest of this message
                    self.close("a call was cancelled while it was sent")
                raise

    async def receive(self) -> None:
        """Read until the connection is lost, which is SystemdUnavailable. One task does this."""
        stream = Stream()
        try:
            while received := await self._socket.recv(RECEIVED):
                for message in stream.feed(received):
                    self._dispatch(message)
            raise trio.EndOfChannel("closed at the other end")
        except (*LOST, Malformed) as error:
            self.close(_ended(error))
            raise SystemdUnavailable(self._closed) from error
        finally:
            self.close("no connection")

    def _dispatch(self, message: Received) -> None:
        match message.header.message_type:
            case MessageType.SIGNAL:
                self._on_signal(message)
            case MessageType.METHOD_RETURN | MessageType.ERROR:
                reply = self._waiting.get(message.header.reply_serial)
                if reply is not None:  # else: its caller was cancelled
                    reply.message = message
                    reply.event.set()

    def close(self, why: str) -> None:
        """Close the socket; every waiting call ends in SystemdUnavailable. The first reason stays."""
        self._closed = self._closed or why
        self._socket.close()
        for reply in self._waiting.values():
            reply.event.set()


class _Reply:
    def __init__(self) -> None:
        self.event = trio.Event()
        self.message: Received | None = None


async def keep_connected(
    address: str,
    on_signal: Callable[[Received], None],
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
    on_signal: Callable[[Received], None],
    session: Callable[[Connection], Awaitable[None]],
) -> None:
    stream = None
    with trio.move_on_after(CONNECT_TIMEOUT):
        stream = await _open(address)
    if stream is None:
        raise SystemdUnavailable(
            f"the system bus at {address} did not answer in {CONNECT_TIMEOUT:g} s"
        )
    connection = Connection(stream.socket, on_signal)
    lost: list[SystemdUnavailable] = []

    async def talk() -> None:
        try:
            await connection.call(BUS, BUS_PATH, BUS, "Hello", within=CONNECT_TIMEOUT)
        except CallFailed as error:
            raise SystemdUnavailable(f"the system bus refused Hello: {error}") from error
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
