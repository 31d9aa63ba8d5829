"""The way to Bombshell: the options that every command of the client has, and the few reads they share.

grpc and the configuration are imported when a connection is made: `--help` and completion of options need neither.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

import click

from tambourinefs.errors import HostError, NotFound, Unreachable
from tambourinefs.model import paths

if TYPE_CHECKING:
    from collections.abc import Callable

    from tambourinefs.model.status import StatusReport
    from tambourinefs.rpc.client import Client

_T = TypeVar("_T")
SILO: Final = "silo"
PROC: Final = "proc"
LOCAL: Final = "local"  # the one namespace that the host's command line writes
CALL_SECONDS: Final = 10.0  # one request; a job is waited for by watching, not inside of a request

AGENT_AWAY: Final = (
    "the agent serves it: `systemctl status tambourine.service` says why it is away; "
    "services run on without it"
)


class Host(NamedTuple):
    """Where this host's Bombshell is: what options and environment say; empty means as configured."""

    socket: str = ""
    pki: str = ""
    config: str = ""

    def connect(self, *, timeout: float = CALL_SECONDS) -> Client:
        """A client of Bombshell, to be used as a context manager. `timeout`: seconds for one request.

        It connects, and reads the certificates, at its first call.

        Raises InvalidConfig where the configuration is wrong.
        """
        from tambourinefs.rpc.client import Client

        socket, pki = self.socket, self.pki
        if not (socket and pki):
            from tambourinefs.configfile import load

            bombshell = load(self.config or str(paths.CONFIG)).config.bombshell
            socket, pki = socket or str(bombshell.socket), pki or str(bombshell.pki)
        ca, cert, key = (Path(pki) / name for name in ("ca.crt", "client.crt", "client.key"))
        return Client(socket, ca, cert, key, timeout)


def host_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """--socket, --pki and --config, handed to the command as one argument `host`."""

    @click.option(
        "--socket",
        envvar="TAMBOURINE_SOCKET",
        default="",
        metavar="PATH",
        help="Bombshell's socket [env: TAMBOURINE_SOCKET; default: as configured].",
    )
    @click.option(
        "--pki",
        envvar="TAMBOURINE_PKI",
        default="",
        metavar="DIR",
        help="Directory of ca.crt, client.crt and client.key [env: TAMBOURINE_PKI].",
    )
    @click.option(
        "--config",
        "config_file",
        envvar="TAMBOURINE_CONFIG",
        default="",
        metavar="FILE",
        help=f"The host's configuration [env: TAMBOURINE_CONFIG; default: {paths.CONFIG}].",
    )
    @functools.wraps(command)
    def with_host(*args: Any, socket: str, pki: str, config_file: str, **options: Any) -> Any:
        return command(*args, host=Host(socket, pki, config_file), **options)

    return with_host


def manifest_path(name: str, namespace: str = LOCAL) -> str:
    """Where a manifest lies in the silo."""
    return f"{namespace}/{name}/{paths.MANIFEST_FILE}"


def read_report(client: Client, namespace: str, name: str) -> StatusReport | None:
    """What the agent reports of one service; None where it lists no such service.

    Raises Unreachable where Bombshell or the agent is away.
    """
    from tambourinefs.model.status import StatusReport

    try:
        data = read_proc(client, f"{namespace}/{name}/status.json")
    except NotFound:
        return None
    return _decode(data, StatusReport)


def read_reports(client: Client) -> list[StatusReport]:
    """All that the agent reports, sorted by namespace and name.

    Raises Unreachable where Bombshell or the agent is away.
    """
    from tambourinefs.model.status import StatusReport

    try:
        data = read_proc(client, "services.json")
    except NotFound as error:  # the root is there, its files are not: a bare directory
        raise Unreachable("the agent's status mount is empty", hint=AGENT_AWAY) from error
    return _decode(data, list[StatusReport])


def read_proc(client: Client, path: str) -> bytes:
    """A file of /proc/tambourine, whole.

    Raises NotFound; Unreachable, with what to do, where Bombshell or the agent is away.
    """
    try:
        return client.read(PROC, path)[1]
    except Unreachable as error:
        raise Unreachable(error.message, hint=error.hint or AGENT_AWAY) from error


def _decode(data: bytes, kind: type[_T]) -> _T:
    import msgspec

    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.ValidationError as error:
        raise HostError(
            f"the agent's report is not understood: {error}",
            hint="the agent is of another version than this command: restart tambourine.service",
        ) from error
