"""systemd's D-Bus interface over a connection that comes and goes: subscribed, with owner known,
and errors named.

Interfaces: org.freedesktop.systemd1(5). It keeps no unit and no job; signals go to `listener`.
"""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Any, Final, Protocol

import trio

from tambourinefs.agent.dbus import connection as dbus
from tambourinefs.agent.ports import (
    JobRefused,
    NotPermitted,
    SystemdRefused,
    SystemdUnavailable,
    UnitLoadFailed,
    UnitMasked,
    UnitNotFound,
)
from tambourinefs.model.unit import OLDEST_RELEASE

if TYPE_CHECKING:
    from tambourinefs.agent.dbus.messages import Received
    from tambourinefs.errors import TambourineError

log: Final = logging.getLogger(__name__)

SYSTEMD: Final = "org.freedesktop.systemd1"
MANAGER_PATH: Final = "/org/freedesktop/systemd1"
MANAGER: Final = "org.freedesktop.systemd1.Manager"
UNIT: Final = "org.freedesktop.systemd1.Unit"
PEER: Final = "org.freedesktop.DBus.Peer"

# No sender in the first rule: systemd's signals carry its unique name. The sender is compared with
# the owner of SYSTEMD here, since any local user may send signals over the system bus.
SIGNALS: Final = f"type='signal',path_namespace='{MANAGER_PATH}'"
OWNER: Final = f"type='signal',sender='{dbus.BUS}',interface='{dbus.BUS}',member='NameOwnerChanged',arg0='{SYSTEMD}'"
HEARTBEAT: Final = 60.0  # seconds; systemd is asked that often whether it still answers
OWNER_RETRY: Final = 1.0  # seconds
RELOAD_TIMEOUT: Final = 180.0  # seconds; 1.1 s with 1,000 units, but generators have 90 s

_SYSTEMD_ERRORS: Final[dict[str, type[SystemdRefused]]] = {
    "UnitMasked": UnitMasked,
    "LoadFailed": UnitLoadFailed,
    "BadUnitSetting": UnitLoadFailed,
    "JobTypeNotApplicable": JobRefused,
    "NoIsolation": JobRefused,
    "OnlyByDependency": JobRefused,
    "ShuttingDown": JobRefused,
    "TransactionIsDestructive": JobRefused,
    "TransactionJobsConflicting": JobRefused,
    "TransactionOrderIsCyclic": JobRefused,
}
_BUS_DENIED: Final = ("AccessDenied", "AuthFailed", "InteractiveAuthorizationRequired")
_BUS_MISSING: Final = ("FileNotFound", "UnixProcessIdUnknown")
_BUS_GONE: Final = ("NoReply", "Disconnected", "TimedOut", "Timeout")
_BUS_ABSENT: Final = ("ServiceUnknown", "NameHasNoOwner")


def translate(error: dbus.CallFailed, what: str) -> TambourineError:
    """The TambourineError for an error of D-Bus or systemd; `what` names request and unit."""
    message = f"{what}: {error.message}"
    prefix, _, name = error.name.rpartition(".")
    if prefix == SYSTEMD:
        if name == "NoSuchUnit":
            return UnitNotFound(message)
        return _SYSTEMD_ERRORS.get(name, SystemdRefused)(message, error=error.name)
    if name in _BUS_DENIED:
        return NotPermitted(message, hint="The agent must run as root.")
    if name in _BUS_MISSING:
        return UnitNotFound(message)
    if name in _BUS_GONE:  # it had the request when it went (a re-execution)
        return SystemdUnavailable(message, may_have_happened=True)
    if name in _BUS_ABSENT or prefix.endswith(".Spawn"):
        return SystemdUnavailable(message)
    return SystemdRefused(message, error=error.name)


def to_release(version: str) -> int:
    """The release in the manager's Version, such as 252 in "252.39-1~deb12u2"; where there is none,
    the oldest that is supported.
    """
    digits = re.match(r"v?(\d{1,6})", version)
    return int(digits[1]) if digits else OLDEST_RELEASE


class Listener(Protocol):
    """Takes what systemd sends."""

    def on_signal(self, signal: Received) -> None:
        """A signal from systemd itself. It cannot wait, so no signal is queued or lost."""
        ...

    async def on_connected(self) -> None:
        """systemd answers again and sends signals; some may have been missed."""
        ...

    def on_disconnected(self) -> None: ...


class Manager:
    """Calls to PID 1. Every one raises SystemdUnavailable while there is no connection, or when the
    reply is late.
    """

    def __init__(self, listener: Listener, *, address: str, reply_timeout: float) -> None:
        self.calls = 0  # made to systemd so far; tests count them
        self.release = OLDEST_RELEASE  # of the systemd that answers
        self._listener = listener
        self._address = address
        self._reply_timeout = reply_timeout
        self._connection: dbus.Connection | None = None
        self._owner = ""
        self._owner_changed = trio.Event()

    async def run(self) -> None:
        """Keep connected and subscribed, for ever."""
        await dbus.keep_connected(self._address, self._on_signal, self._session)

    # -- the connection

    def _on_signal(self, signal: Received) -> None:
        if signal.header.sender == dbus.BUS:
            if signal.header.member == "NameOwnerChanged":
                name, _, owner = signal.body
                if name == SYSTEMD:
                    self._owner = owner
                    self._owner_changed.set()
        elif signal.header.sender == self._owner:
            self._listener.on_signal(signal)

    async def _session(self, connection: dbus.Connection) -> None:
        try:
            for rule in (OWNER, SIGNALS):
                await self._bus(connection, "AddMatch", rule)
            await self._find_owner(connection)
            while True:
                await self._one_owner(connection)
        except dbus.CallFailed as error:
            raise SystemdUnavailable(f"the system bus refused a call: {error}") from error
        finally:
            self._down()

    async def _one_owner(self, connection: dbus.Connection) -> None:
        """From when systemd is on the bus until it leaves it or re-executes."""
        self._owner_changed = changed = trio.Event()
        if self._owner:
            self._connection = connection
            try:
                await self._subscribe()
                self.release = to_release(
                    str(await self.property(MANAGER_PATH, MANAGER, "Version"))
                )
                await self._listener.on_connected()
                await self._ping(changed)
                log.info("systemd left the bus or re-executed")
            except SystemdUnavailable as error:
                log.warning("%s", error)  # a lost connection ends the session by itself
                with trio.move_on_after(OWNER_RETRY):
                    await changed.wait()
            self._down()
        else:
            log.warning("systemd is not on the system bus; `kill -USR1 1` asks it to come back")
            await changed.wait()

    async def _subscribe(self) -> None:
        try:
            await self.call("Subscribe")
        except SystemdRefused as error:
            if not error.error.endswith(".AlreadySubscribed"):  # kept across a re-execution
                raise SystemdUnavailable(error.message) from error

    async def _ping(self, changed: trio.Event) -> None:
        while not changed.is_set():
            with trio.move_on_after(HEARTBEAT):
                await changed.wait()
                return
            await self._call(MANAGER_PATH, PEER, "Ping", "", (), "Ping", self._reply_timeout)

    def _down(self) -> None:
        if self._connection is not None:
            self._connection = None
            self._listener.on_disconnected()

    async def _bus(self, connection: dbus.Connection, member: str, argument: str) -> Any:
        return await connection.call(dbus.BUS, dbus.BUS_PATH, dbus.BUS, member, "s", argument)

    async def _find_owner(self, connection: dbus.Connection) -> None:
        self._owner, self._owner_changed = "", trio.Event()
        try:
            (owner,) = await self._bus(connection, "GetNameOwner", SYSTEMD)
        except dbus.CallFailed:
            return
        if not self._owner_changed.is_set():  # else a signal was younger than the reply
            self._owner = owner

    # -- calls

    async def _call(
        self,
        path: str,
        interface: str,
        member: str,
        signature: str,
        body: tuple[Any, ...],
        what: str,
        within: float,
    ) -> list[Any]:
        if self._connection is None:
            raise SystemdUnavailable(f"{what}: systemd is not reachable over the system bus")
        self.calls += 1
        try:
            return await self._connection.call(
                SYSTEMD, path, interface, member, signature, *body, within=within
            )
        except dbus.CallFailed as error:
            raise translate(error, what) from error

    async def call(
        self, member: str, signature: str = "", *body: Any, within: float | None = None
    ) -> list[Any]:
        """A method of the Manager."""
        what = f"{member} {body[0]}" if body and isinstance(body[0], str) else member
        within = self._reply_timeout if within is None else within
        return await self._call(MANAGER_PATH, MANAGER, member, signature, body, what, within)

    async def properties(self, path: str, what: str) -> dict[str, Any]:
        """All properties of an object, of all its interfaces; `what` names it in errors. Asked of a
        unit that is not loaded, systemd loads it.
        """
        (found,) = await self._properties(path, "GetAll", "s", ("",), f"GetAll {what}")
        return {name: variant.value for name, variant in found.items()}

    async def property(self, path: str, interface: str, name: str) -> Any:
        """One property of one object."""
        (found,) = await self._properties(path, "Get", "ss", (interface, name), f"Get {name}")
        return found.value

    async def _properties(
        self, path: str, member: str, signature: str, body: tuple[str, ...], what: str
    ) -> list[Any]:
        return await self._call(
            path, dbus.PROPERTIES, member, signature, body, what, self._reply_timeout
        )
