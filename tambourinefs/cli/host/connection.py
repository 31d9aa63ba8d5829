"""Connecting to Bombshell: options that every client command has, and the few reads they share.

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
CALL_SECONDS: Final = 10.0  # one request; commands wait for jobs by watching, not inside a request

AGENT_AWAY: Final = (
    "`systemctl status tambourine.service` shows why the agent does not answer; "
    "services keep running without it"
)


class Connection(NamedTuple):
    """Where this host's Bombshell is, by options and environment; empty means as configured."""

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
        return command(*args, host=Connection(socket, pki, config_file), **options)

    return with_host


def manifest_path(name: str, namespace: str = LOCAL) -> str:
    """The path of a manifest in the silo."""
    return f"{namespace}/{name}/{paths.MANIFEST_FILE}"


def read_report(client: Client, namespace: str, name: str) -> StatusReport | None:
    """The agent's report of one service; None where it lists no such service.

    Raises Unreachable where Bombshell or the agent does not answer.
    """
    from tambourinefs.model.status import StatusReport

    try:
        data = read_proc(client, f"{namespace}/{name}/status.json")
    except NotFound:
        return None
    return _decode(data, StatusReport)


def read_reports(client: Client) -> list[StatusReport]:
    """All reports of the agent, sorted by namespace and name.

    Raises Unreachable where Bombshell or the agent does not answer.
    """
    from tambourinefs.model.status import StatusReport

    try:
        data = read_proc(client, "services.json")
    except NotFound as error:  # the root is there, its files are not: a bare directory
        raise Unreachable("the agent's status mount is empty", hint=AGENT_AWAY) from error
    return _decode(data, list[StatusReport])


def read_proc(client: Client, path: str) -> bytes:
    """A file of /proc/tambourine, whole.

    Raises NotFound; Unreachable, with what to do, where Bombshell or the agent does not answer.
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
            f"cannot read the agent's report: {error}",
            hint="agent and command have different versions: systemctl restart tambourine.service",
        ) from error
