"""How a client connects to Bombshell's socket, and why it cannot."""

from __future__ import annotations

import errno
import os
import socket as sockets
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tambourinefs.errors import InvalidInput, Unreachable
from tambourinefs.model import paths

if TYPE_CHECKING:
    from collections.abc import Iterable

    import grpc

MAX_SOCKET_PATH: Final = 107  # bytes: sun_path of unix(7), less its final NUL
MAX_MESSAGE: Final = 1024 * 1024  # bytes
_STATUS: Final = "systemctl status tambourine-bombshell"
_JOIN: Final = (
    f"Run it as root, or join the group: usermod -aG {paths.GROUP} USER, then log in again"
)


def quiet() -> None:
    """Before grpc is imported: its C core must not log errors to stderr, which are raised anyway."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "false")


def stamps(files: Iterable[Path]) -> tuple[tuple[int, int], ...]:
    """Inode and mtime of each file, which change when it is replaced; (0, 0) where it is missing."""
    found = []
    for file in files:
        try:
            status = file.stat()
        except OSError:
            found.append((0, 0))
        else:
            found.append((status.st_ino, status.st_mtime_ns))
    return tuple(found)


def connect(socket: str, ca: Path, cert: Path, key: Path, *, server_name: str) -> grpc.Channel:
    """A channel over TLS to a Unix socket; it connects at the first call.

    Raises Unreachable where a certificate cannot be read, InvalidInput for a socket path that is
    too long.
    """
    import grpc

    check_length(socket)
    credentials = grpc.ssl_channel_credentials(_pem(ca), _pem(key), _pem(cert))
    return grpc.secure_channel(
        f"unix:{os.path.abspath(socket)}",
        credentials,
        options=[
            ("grpc.default_authority", server_name),  # else: the percent-encoded path
            ("grpc.max_receive_message_length", MAX_MESSAGE),
            ("grpc.enable_http_proxy", 0),
            # A new channel after a rotation must not reuse the old connection.
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.initial_reconnect_backoff_ms", 100),
            # The timeout of one attempt, including the TLS handshake on a busy node.
            ("grpc.min_reconnect_backoff_ms", 10_000),
            ("grpc.max_reconnect_backoff_ms", 1000),
        ],
    )


def check_length(socket: str) -> None:
    """Raise InvalidInput where the path does not fit a socket address (unix(7))."""
    length = len(os.fsencode(os.path.abspath(socket)))
    if length > MAX_SOCKET_PATH:
        raise InvalidInput(
            f"socket path is {length} bytes long, the kernel allows {MAX_SOCKET_PATH}: {socket}",
            hint="Choose a shorter bombshell.socket in /etc/tambourine/config.toml.",
        )


def explain(socket: str, error: Unreachable) -> Unreachable:
    """The error with the result of connect(2): gRPC does not tell a missing permission from a
    missing socket.
    """
    with sockets.socket(sockets.AF_UNIX, sockets.SOCK_STREAM) as probe:
        probe.settimeout(2)
        try:
            probe.connect(socket)
        except PermissionError:
            return Unreachable(f"not permitted to connect to Bombshell at {socket}", hint=_JOIN)
        except OSError as reason:
            what = {
                errno.ENOENT: "the socket does not exist",
                errno.ECONNREFUSED: "connection refused",
            }.get(reason.errno or 0, reason.strerror or "no connection")
            return Unreachable(
                f"cannot reach Bombshell at {socket}: {what}", hint=f"See: {_STATUS}"
            )
    if "CERTIFICATE" in error.message.upper() or "SSL" in error.message.upper():
        return Unreachable(
            f"Bombshell at {socket} and this client do not trust each other's certificate: {error.message}",
            hint="See: tambourine pki show",
        )
    return Unreachable(
        f"Bombshell at {socket}: {error.message}", hint=error.hint or f"See: {_STATUS}"
    )


def _pem(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except PermissionError as error:
        raise Unreachable(f"not permitted to read {file}", hint=_JOIN) from error
    except OSError as error:
        raise Unreachable(
            f"cannot read {file}: {error.strerror}",
            hint="Make it: tambourine install, or tambourine pki init",
        ) from error
