"""Bombshell's socket: connection, TLS handshake with the client's certificate, first bytes.

Without gRPC, whose errors say less about these steps.
"""

from __future__ import annotations

import errno
import os
import socket as sockets
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from tambourinefs.doctor.check import BOMBSHELL, Finding, needs_root, restart
from tambourinefs.rpc.client import SERVER_NAME

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tambourinefs.model.config import BombshellConfig

_SECONDS: Final = 8.0

Stage = Literal["connect", "credentials", "handshake", "serves"]


@dataclass(frozen=True, slots=True)
class SocketState:
    """`stage`: the step that failed because of `why` (errno `number` or 0), or "serves"."""

    path: str
    stage: Stage
    why: str = ""
    number: int = 0
    current: bool = True  # it serves the certificate that server.crt holds


def probe(config: BombshellConfig) -> SocketState:
    """Connect, with a deadline for each step."""
    with sockets.socket(sockets.AF_UNIX, sockets.SOCK_STREAM) as plain:
        plain.settimeout(_SECONDS)
        try:
            plain.connect(config.socket)
        except OSError as error:
            return SocketState(
                config.socket, "connect", error.strerror or str(error), error.errno or 0
            )
        return _handshake(plain, config)


def _handshake(plain: sockets.socket, config: BombshellConfig) -> SocketState:
    pki = Path(config.pki)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_alpn_protocols(["h2"])
    try:
        context.load_verify_locations(pki / "ca.crt")
        context.load_cert_chain(pki / "client.crt", pki / "client.key")
    except OSError as error:  # ssl.SSLError is one
        return SocketState(config.socket, "credentials", _reason(error), error.errno or 0)
    try:
        with context.wrap_socket(plain, server_hostname=SERVER_NAME) as secure:
            served = secure.getpeercert(binary_form=True)
            # With TLS 1.3 the server rejects a client's certificate only now.
            if not secure.recv(1):
                return SocketState(config.socket, "handshake", "the server closed the connection")
    except OSError as error:
        return SocketState(config.socket, "handshake", _reason(error), error.errno or 0)
    return SocketState(config.socket, "serves", current=served == _on_disk(pki / "server.crt"))


def _reason(error: OSError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    return getattr(error, "reason", "") or error.strerror or str(error)


def _on_disk(path: Path) -> bytes | None:
    try:
        return ssl.PEM_cert_to_DER_cert(path.read_text())
    except (OSError, ValueError):
        return None


def findings(observed: SocketState, *, root: bool) -> Iterator[Finding]:
    """One finding."""
    fix = restart(BOMBSHELL)
    if observed.number in {errno.EACCES, errno.EPERM} and not root:
        yield needs_root("socket", "whether Bombshell serves")
    elif observed.stage == "connect":
        what = {errno.ENOENT: "the socket does not exist", errno.ECONNREFUSED: "connection refused"}
        answer = what.get(observed.number, observed.why)
        yield Finding("socket", "error", f"Bombshell at {observed.path}: {answer}", fix)
    elif observed.stage == "credentials":
        text = f"the client's certificate cannot be used: {observed.why}"
        yield Finding("socket", "error", text, "tambourine pki show")
    elif observed.stage == "handshake":
        text = f"Bombshell at {observed.path} fails the TLS handshake: {observed.why}"
        yield Finding("socket", "error", text, fix)
    elif not observed.current:
        text = "Bombshell serves an older certificate than server.crt"
        yield Finding("socket", "error", text, fix)
    else:
        yield Finding("socket", "ok", f"Bombshell answers over TLS at {os.path.basename(observed.path)}")  # fmt: skip
