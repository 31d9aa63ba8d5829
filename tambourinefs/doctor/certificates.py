"""The certificates of Bombshell and its clients: complete, valid, of one CA, with private keys."""

from __future__ import annotations

import grp
import os
import pwd
import shlex
import stat
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from tambourinefs.doctor.check import Finding, needs_root
from tambourinefs.model import paths
from tambourinefs.rpc import keypair, pki

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tambourinefs.doctor.check import CheckContext

KeyState = Literal["fits", "differs", "missing", "hidden"]
_MAX: Final = 1 << 20  # bytes
_OPEN: Final = {
    "ca": 0o077,
    "server": 0o077,
    "client": 0o137,
}  # mode bits that a key must not have


@dataclass(frozen=True, slots=True)
class CertificateState:
    """One certificate. `problem` says why it cannot be used (the times are None then), "" if it can."""

    name: pki.Name
    problem: str = ""
    not_before: datetime | None = None
    not_after: datetime | None = None
    signed: bool = True  # by ca.crt
    key: KeyState = "fits"
    key_open: bool = False  # its mode or owner is wrong

    def due(self, now: datetime) -> bool:
        """Whether `tambourine pki renew` would renew it."""
        assert self.not_before is not None
        assert self.not_after is not None
        return self.not_after - now < (self.not_after - self.not_before) * pki.DUE


def probe(directory: Path) -> tuple[CertificateState, ...]:
    """The three, in the order of pki.NAMES."""
    ca = _certificate(directory / "ca.crt")
    return tuple(_probe(directory, name, ca) for name in pki.NAMES)


def _probe(directory: Path, name: pki.Name, ca: x509.Certificate | str) -> CertificateState:
    found = _certificate(directory / f"{name}.crt")
    key, key_open = _key(directory, name)
    if isinstance(found, str):
        return CertificateState(name, found, key=key, key_open=key_open)
    observed = CertificateState(
        name,
        not_before=found.not_valid_before_utc,
        not_after=found.not_valid_after_utc,
        key=key,
        key_open=key_open,
    )
    if isinstance(ca, str):
        return observed
    try:
        found.verify_directly_issued_by(ca)
    except (ValueError, TypeError, InvalidSignature):
        return replace(observed, signed=False)
    return observed


def _certificate(path: Path) -> x509.Certificate | str:
    """The certificate, or what is wrong with it."""
    try:
        with path.open("rb") as file:
            return x509.load_pem_x509_certificate(file.read(_MAX))
    except FileNotFoundError:
        return "is missing"
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    except ValueError:
        return "is not a certificate"


def _key(directory: Path, name: pki.Name) -> tuple[KeyState, bool]:
    path = directory / f"{name}.key"
    try:
        there = path.stat()
        key_open = bool(stat.S_IMODE(there.st_mode) & _OPEN[name]) or not _owned(name, there)
    except FileNotFoundError:
        return "missing", False
    except OSError:
        return "hidden", False
    try:
        with path.open("rb") as file, (directory / f"{name}.crt").open("rb") as certificate:
            fits = keypair.matches(certificate.read(_MAX), file.read(_MAX))
    except FileNotFoundError:
        return "differs", key_open
    except OSError:
        return "hidden", key_open
    return "fits" if fits else "differs", key_open


def _owned(name: pki.Name, there: os.stat_result) -> bool:
    """Whether the key has its owner and group. True where this host lacks them: the units fail then."""
    with suppress(KeyError):
        if name == "server":
            return there.st_uid == pwd.getpwnam(paths.BOMBSHELL_USER).pw_uid
        if name == "client":
            return there.st_uid == 0 and there.st_gid == grp.getgrnam(paths.GROUP).gr_gid
        return there.st_uid == 0
    return True


def findings(observed: tuple[CertificateState, ...], context: CheckContext) -> Iterator[Finding]:
    """A finding for each problem, or one for all certificates."""
    directory, now = context.config.bombshell.pki, datetime.fromtimestamp(context.now, UTC)
    ca = observed[0]
    wrong = [finding for one in observed for finding in _of(one, ca, directory, now)]
    yield from wrong
    if any(one.key == "hidden" for one in observed):
        yield needs_root("certificates", "whether the keys belong to the certificates")
    if not wrong:
        first = min(observed[1:], key=lambda one: one.not_after or now)
        ends = ", ".join(
            f"{one.name} {one.not_after:%Y-%m-%d}" for one in observed if one.not_after
        )
        left = _left((first.not_after or now) - now)
        yield Finding("certificates", "ok", f"valid for {left}: {ends}")


def _left(span: timedelta) -> str:
    return f"{span.days} days" if span.days > 1 else f"{int(span.total_seconds() // 60)} minutes"


def _of(
    one: CertificateState, ca: CertificateState, directory: str, now: datetime
) -> Iterator[Finding]:
    where = "" if directory == str(paths.PKI) else f" --dir {shlex.quote(directory)}"
    recreate, renew = f"tambourine pki init --force{where}", f"tambourine pki renew{where}"
    certificate, key = f"{directory}/{one.name}.crt", f"{directory}/{one.name}.key"
    # With an intact CA one leaf can be issued again; the other certificates stay valid.
    whole = not ca.problem and ca.key in {"fits", "hidden"}
    remake = (
        f"rm -f {shlex.quote(certificate)} && tambourine pki init{where}" if whole else recreate
    )
    if one.name == "ca":
        remake = recreate
    if one.problem:
        yield Finding("certificates", "error", f"{certificate} {one.problem}", remake)
    elif one.key == "missing" and one.name == "ca":
        text = f"{key} is missing: no certificate can be renewed"
        yield Finding("certificates", "warning", text, recreate)
    elif one.key in {"missing", "differs"}:
        what = "is missing" if one.key == "missing" else f"does not belong to {one.name}.crt"
        yield Finding("certificates", "error", f"{key} {what}", remake)
    elif not one.signed:
        text = f"{certificate} is not signed by {directory}/ca.crt"
        yield Finding("certificates", "error", text, remake)
    elif one.not_before and one.not_before > now:
        text = f"{certificate} is not valid before {one.not_before:%Y-%m-%d %H:%M} UTC; check the clock"  # fmt: skip
        yield Finding("certificates", "error", text, f"{renew} --force")
    elif one.not_after and one.not_after <= now:
        text = f"{certificate} expired {one.not_after:%Y-%m-%d %H:%M} UTC"
        yield Finding("certificates", "error", text, renew if whole else recreate)
    elif one.due(now):
        text = f"{certificate} expires {one.not_after:%Y-%m-%d} and is due for renewal"
        yield Finding("certificates", "warning", text, renew if whole else recreate)
    if one.key_open and one.key != "missing":
        yield _permissions(one.name, key)


def _permissions(name: pki.Name, key: str) -> Finding:
    owner, mode = {
        "ca": ("root:root", "0600"),
        "server": (f"{paths.BOMBSHELL_USER}:root", "0400"),
        "client": (f"root:{paths.GROUP}", "0640"),
    }[name]
    text = f"{key} does not have owner {owner} and mode {mode}"
    fix = f"chown {owner} {shlex.quote(key)} && chmod {mode} {shlex.quote(key)}"
    return Finding("certificates", "error", text, fix)
