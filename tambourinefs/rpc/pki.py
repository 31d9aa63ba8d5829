"""A private certificate authority for one socket: /etc/tambourine/pki/{ca,server,client}.{crt,key}.

    ca.key      root alone, 0600        signs; no daemon ever reads it
    server.key  user bombshell, 0400    the daemon's own
    client.key  group tambourine, 0640  its readers may connect: root in effect
    *.crt       0644
    expirations.json  0644              when each certificate ends; see `_write_expirations`

Every file is replaced whole and durably, a key before its certificate. Keys are ECDSA P-256.
`renew` gives a certificate a successor for the same key: only one file changes, and what the
authority has signed stays valid. It opens no key but ca.key.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tambourinefs import files
from tambourinefs.errors import AlreadyExists, HostError, NotFound
from tambourinefs.model import paths

Name = Literal["ca", "server", "client"]
NAMES: Final[tuple[Name, ...]] = ("ca", "server", "client")

LIFETIMES: Final[dict[Name, timedelta]] = {
    "ca": timedelta(days=20 * 365),
    "server": timedelta(days=3 * 365),
    "client": timedelta(days=3 * 365),
}
DUE: Final = 1 / 3  # of its lifetime left: renew it
# A host without a battery-backed clock boots in the past; a certificate of today must be valid
# there already.
BACKDATE: Final = timedelta(days=1)
SERVER_NAMES: Final = ("bombshell.tambourine", "localhost")
_PREFIX: Final = ".pki-"


@dataclass(frozen=True, slots=True)
class Owners:
    """Who may read the two keys that are not root's alone: numeric ids, -1 for the caller's own."""

    server_uid: int = -1
    client_gid: int = -1


@dataclass(frozen=True, slots=True)
class Certificate:
    """One certificate on disk."""

    name: Name
    path: Path
    subject: str
    serial: str  # hexadecimal
    not_before: datetime
    not_after: datetime
    names: tuple[str, ...]  # DNS names it is valid for
    fingerprint: str  # SHA-256, hexadecimal

    def due(self, now: datetime) -> bool:
        """Is less than a third of its lifetime left?"""
        return self.not_after - now < (self.not_after - self.not_before) * DUE


def init(
    directory: Path,
    *,
    owners: Owners,
    force: bool = False,
    now: datetime | None = None,
    lifetime: timedelta | None = None,
) -> tuple[Name, ...]:
    """Make what is missing, and with `force` everything again; return what was made.

    A missing leaf is signed by the authority that exists (ca.key may be kept elsewhere while none
    is missing). A key without its certificate, which an interrupted `init` leaves, is made again.
    Without `force`, nothing else is overwritten. `lifetime` is that of the server's and the
    client's certificate, for three years.

    Raises AlreadyExists where existing certificates do not belong together, HostError where a file
    cannot be read or written.
    """
    now = now or datetime.now(UTC)
    missing = tuple(name for name in NAMES if not (directory / f"{name}.crt").exists())
    if not force:
        _check_fits(directory, missing)
    made = NAMES if force else missing
    with _explained(directory):
        _make(directory)
        for name in made:
            key = _new_key(directory, name, owners)
            _issue(directory, name, key.public_key(), now, _lifetime(name, lifetime))
        _write_expirations(directory)
    return made


def _make(directory: Path) -> None:
    """Readable by every user of a certificate, whatever the umask (the units' is 0077); keys have
    modes of their own.
    """
    if not directory.is_dir():
        directory.mkdir(parents=True)
        directory.chmod(0o755)


def renew(
    directory: Path,
    *,
    force: bool = False,
    now: datetime | None = None,
    lifetime: timedelta | None = None,
) -> tuple[Name, ...]:
    """Give each certificate with less than a third of its lifetime left (`force`: each) a new one
    for its old key.

    One file changes at a time, so no pair is ever torn. Running servers and clients load the new
    ones by themselves. Returns which. New keys come from `init(force=True)`. `lifetime` as for
    `init`.

    Raises NotFound before `init`, HostError where a file cannot be written or read.
    """
    now = now or datetime.now(UTC)
    due = tuple(c.name for c in show(directory) if force or c.due(now))
    with _explained(directory):
        for name in due:
            key = _load_certificate(directory, name).public_key()
            _issue(directory, name, key, now, _lifetime(name, lifetime))
        _write_expirations(directory)
    return due


def show(directory: Path) -> tuple[Certificate, ...]:
    """The three certificates, as they are on disk.

    Raises NotFound where one is missing, HostError where one cannot be read.
    """
    return tuple(_describe(directory, name) for name in NAMES)


def _write_expirations(directory: Path) -> None:
    """For the agent's metrics: the agent would need 7 MiB for the library that parses certificates."""
    ends = {one.name: one.not_after.timestamp() for one in show(directory)}
    data, file = json.dumps(ends).encode(), directory / paths.EXPIRATIONS
    if not file.exists() or file.read_bytes() != data:  # a second installation changes nothing
        _write(directory, paths.EXPIRATIONS, data, 0o644)


def _check_fits(directory: Path, missing: tuple[Name, ...]) -> None:
    present = [name for name in NAMES if name not in missing]
    if "ca" in missing and present:
        raise AlreadyExists(
            f"{directory} has {', '.join(f'{name}.crt' for name in present)} but no ca.crt",
            hint="restore ca.crt and ca.key, or make all again with --force",
        )
    for name in present:
        if name != "ca" and not (directory / f"{name}.key").exists():
            raise AlreadyExists(
                f"{directory} has {name}.crt without {name}.key",
                hint="restore the key, or make all again with --force",
            )


def _lifetime(name: Name, leaf: timedelta | None) -> timedelta:
    return LIFETIMES[name] if leaf is None or name == "ca" else leaf


def _issue(
    directory: Path,
    name: Name,
    key: CertificatePublicKeyTypes,
    now: datetime,
    lifetime: timedelta,
) -> None:
    subject, signer = _subject(name), _load_key(directory, "ca")
    issuer = subject if name == "ca" else _load_certificate(directory, "ca").subject
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATE)
        .not_valid_after(now + lifetime)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
        )
    )
    certificate = _with_uses(builder, name).sign(signer, hashes.SHA256())
    _write(directory, f"{name}.crt", certificate.public_bytes(serialization.Encoding.PEM), 0o644)


def _with_uses(builder: x509.CertificateBuilder, name: Name) -> x509.CertificateBuilder:
    """Key usages (RFC 5280, 4.2.1)."""
    authority = name == "ca"
    usage = x509.KeyUsage(
        digital_signature=not authority,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
    builder = builder.add_extension(usage, critical=True).add_extension(
        x509.BasicConstraints(ca=authority, path_length=0 if authority else None), critical=True
    )
    if authority:
        return builder
    if name == "client":
        return builder.add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
        )
    return builder.add_extension(
        x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False
    ).add_extension(
        x509.SubjectAlternativeName([x509.DNSName(dns) for dns in SERVER_NAMES]), critical=False
    )


def _subject(name: Name) -> x509.Name:
    common = {"ca": "Tambourine private CA", "server": SERVER_NAMES[0], "client": "tambourine"}
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common[name])])


def _new_key(directory: Path, name: Name, owners: Owners) -> ec.EllipticCurvePrivateKey:
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    if name == "server":
        _write(directory, "server.key", pem, 0o400, uid=owners.server_uid)
    elif name == "client":
        _write(directory, "client.key", pem, 0o640, gid=owners.client_gid)
    else:
        _write(directory, "ca.key", pem, 0o600)
    return key


def _write(
    directory: Path, name: str, data: bytes, mode: int, *, uid: int = -1, gid: int = -1
) -> None:
    files.replace_file_durably(directory / name, data, mode=mode, uid=uid, gid=gid, prefix=_PREFIX)


def _load_certificate(directory: Path, name: Name) -> x509.Certificate:
    path = directory / f"{name}.crt"
    try:
        return x509.load_pem_x509_certificate(_read(path))
    except ValueError as error:
        raise HostError(f"{path} is not a PEM certificate: {error}") from error


def _load_key(directory: Path, name: Name) -> ec.EllipticCurvePrivateKey:
    path = directory / f"{name}.key"
    try:
        key = serialization.load_pem_private_key(_read(path), password=None)
    except (ValueError, TypeError) as error:
        raise HostError(f"{path} is not a PEM private key: {error}") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise HostError(f"{path} is not an elliptic curve key")
    return key


def _describe(directory: Path, name: Name) -> Certificate:
    certificate = _load_certificate(directory, name)
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        names = tuple(extension.value.get_values_for_type(x509.DNSName))
    except x509.ExtensionNotFound:
        names = ()
    return Certificate(
        name=name,
        path=directory / f"{name}.crt",
        subject=certificate.subject.rfc4514_string(),
        serial=f"{certificate.serial_number:x}",
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
        names=names,
        fingerprint=certificate.fingerprint(hashes.SHA256()).hex(),
    )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise NotFound(f"{path} does not exist", hint="make it: tambourine pki init") from error
    except OSError as error:
        raise HostError(f"cannot read {path}: {error.strerror}", hint="run it as root") from error


@contextmanager
def _explained(directory: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise HostError(
            f"cannot write {error.filename or ''} in {directory}: {error.strerror}",
            hint="run it as root",
        ) from error
