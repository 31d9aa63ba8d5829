"""Bombshell's socket: its mode and group, one server at a time, certificates that are reloaded."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

import grpc

from tambourinefs.errors import AlreadyExists, HostError
from tambourinefs.rpc import keypair, reach

log = logging.getLogger("bombshell.listen")

SOCKET_MODE: Final = 0o660


@dataclass(frozen=True, slots=True)
class Certificates:
    """PEM files. Without `client_ca` any client may connect."""

    certificate: Path
    key: Path
    client_ca: Path | None

    @property
    def files(self) -> tuple[Path, ...]:
        """All of them."""
        return (self.certificate, self.key, *([self.client_ca] if self.client_ca else []))


class Credentials:
    """Reloads the certificates when a client connects after they changed; keeps the last good ones."""

    def __init__(self, certificates: Certificates) -> None:
        self._certificates = certificates
        self._stamps = reach.stamps(certificates.files)
        self._first = self._load()

    def to_grpc(self) -> grpc.ServerCredentials:
        """What grpc.Server.add_secure_port takes."""
        return grpc.dynamic_ssl_server_credentials(
            self._first,
            self._fetch,
            require_client_authentication=self._certificates.client_ca is not None,
        )

    def _fetch(self) -> grpc.ServerCertificateConfiguration:
        """Called by gRPC for each new connection. None, which its type does not allow, means
        unchanged.

        gRPC's core owns and frees a configuration once it was returned: the same one twice ends the
        process (tried).
        """
        unchanged = cast("grpc.ServerCertificateConfiguration", None)
        now = reach.stamps(self._certificates.files)
        if now == self._stamps:
            return unchanged
        self._stamps = now
        try:
            fresh = self._load()
        except HostError as error:
            log.warning("keeping the old certificate: %s", error)
            return unchanged
        log.info("loaded a renewed certificate")
        return fresh

    def _load(self) -> grpc.ServerCertificateConfiguration:
        certificate, key, *authority = (_read(file) for file in self._certificates.files)
        if not keypair.matches(certificate, key):
            raise HostError(
                f"{self._certificates.certificate} and {self._certificates.key} do not belong together",
                hint="See: tambourine pki show",
            )
        return grpc.ssl_server_certificate_configuration(
            [(key, certificate)], authority[0] if authority else None
        )


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise HostError(
            f"cannot read {file}: {error.strerror}", hint="Make it: tambourine pki init"
        ) from error


@contextmanager
def exclusive(socket: Path) -> Iterator[None]:
    """No other Bombshell serves this socket while inside: a second would silently steal the path.

    Raises AlreadyExists, HostError where the directory is missing or not writable.
    """
    reach.check_length(str(socket))
    lock = socket.with_name(f"{socket.name}.lock")
    try:
        fd = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise HostError(f"cannot make {lock}: {error.strerror}") from error
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.pread(fd, 32, 0).decode("ascii", "replace").strip()
            raise AlreadyExists(f"another Bombshell serves {socket} (process {owner})") from None
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(fd)


@contextmanager
def bound(socket: Path, gid: int, bind: Callable[[str], None]) -> Iterator[None]:
    """The socket exists at its path while inside, with its mode and group from the start.

    `bind` binds and listens at a name beside it, which is then renamed: gRPC unlinks the path that
    it was given when it stops, which could be another server's. Only inside `exclusive`.

    Raises AlreadyExists where the path exists and is not a socket, HostError where it cannot be
    made.
    """
    private = socket.with_name(_private(socket.name))
    for path in (socket, private):
        with contextlib.suppress(FileNotFoundError):
            if not stat.S_ISSOCK(path.lstat().st_mode):
                raise AlreadyExists(f"{path} exists and is not a socket")
    previous = os.umask(0o177)
    try:
        private.unlink(missing_ok=True)
        bind(str(private))
        os.chown(private, -1, gid)
        private.chmod(SOCKET_MODE)
        inode = private.stat().st_ino
        private.rename(socket)
    except OSError as error:
        raise HostError(f"cannot make {socket}: {error.strerror}") from error
    finally:
        os.umask(previous)
    try:
        yield
    finally:
        with contextlib.suppress(FileNotFoundError):
            if socket.lstat().st_ino == inode:
                socket.unlink()


def _private(name: str) -> str:
    """A name as long as the given one: the kernel's limit is the same."""
    return name[:-1] + ("~" if name[-1] != "~" else "_")
