"""Bombshell's socket: a connection, a TLS handshake with the client's certificate, and the first bytes of HTTP/2.

No gRPC: what it says of a failure is less than what the sockets say.
"""

from __future__ import annotations

import errno
import os
import socket as sockets
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from tambourinefs.doctor.finding import Finding, needs_root
from tambourinefs.doctor.patient import BOMBSHELL, restart
from tambourinefs.rpc.client import SERVER_NAME

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tambourinefs.model.config import BombshellConfig

_SECONDS: Final = 8.0

Stage = Literal["connect", "credentials", "handshake", "serves"]


@dataclass(frozen=True, slots=True)
class Facts:
    """How far it went: `stage` is the one that failed for `why` (errno `number`, 0 where there is none), or "serves"."""

    path: str
    stage: Stage
    why: str = ""
    number: int = 0
    same: bool = True  # what it serves is server.crt as it is on disk


def probe(config: BombshellConfig) -> Facts:
    """Every step has a deadline."""
    with sockets.socket(sockets.AF_UNIX, sockets.SOCK_STREAM) as plain:
        plain.settimeout(_SECONDS)
        try:
            plain.connect(config.socket)
        except OSError as error:
            return Facts(config.socket, "connect", error.strerror or str(error), error.errno or 0)
        return _handshake(plain, config)


def _handshake(plain: sockets.socket, config: BombshellConfig) -> Facts:
    pki = Path(config.pki)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_alpn_protocols(["h2"])
    try:
        context.load_verify_locations(pki / "ca.crt")
        context.load_cert_chain(pki / "client.crt", pki / "client.key")
    except OSError as error:  # ssl.SSLError is one
        return Facts(config.socket, "credentials", _words(error), error.errno or 0)
    try:
        with context.wrap_socket(plain, server_hostname=SERVER_NAME) as secure:
            served = secure.getpeercert(binary_form=True)
            # With TLS 1.3 a server says only now that it does not take a client's certificate.
            if not secure.recv(1):
                return Facts(config.socket, "handshake", "it closed the connection")
    except OSError as error:
        return Facts(config.socket, "handshake", _words(error), error.errno or 0)
    return Facts(config.socket, "serves", same=served == _on_disk(pki / "server.crt"))


def _words(error: OSError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    return getattr(error, "reason", "") or error.strerror or str(error)


def _on_disk(path: Path) -> bytes | None:
    try:
        return ssl.PEM_cert_to_DER_cert(path.read_text())
    except (OSError, ValueError):
        return None


def verdict(facts: Facts, *, root: bool) -> Iterator[Finding]:
    """One finding."""
    mend = restart(BOMBSHELL)
    if facts.number in {errno.EACCES, errno.EPERM} and not root:
        yield needs_root("socket", "whether Bombshell serves")
    elif facts.stage == "connect":
        what = {errno.ENOENT: "there is no socket", errno.ECONNREFUSED: "nobody listens"}
        said = what.get(facts.number, facts.why)
        yield Finding("socket", "error", f"Bombshell at {facts.path}: {said}", mend)
    elif facts.stage == "credentials":
        text = f"the client's certificate cannot be used: {facts.why}"
        yield Finding("socket", "error", text, "tambourine pki show")
    elif facts.stage == "handshake":
        text = f"Bombshell at {facts.path} does not finish the TLS handshake: {facts.why}"
        yield Finding("socket", "error", text, mend)
    elif not facts.same:
        text = "Bombshell serves another certificate than the one on disk"
        yield Finding("socket", "error", text, mend)
    else:
        yield Finding("socket", "ok", f"Bombshell answers over TLS at {os.path.basename(facts.path)}")  # fmt: skip
