"""The certificates of Bombshell and its clients: there, whole, of one authority, in time, and their keys closed."""

from __future__ import annotations

import grp
import os
import pwd
import stat
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from tambourinefs.doctor.finding import Finding, needs_root
from tambourinefs.doctor.patient import quoted
from tambourinefs.model import paths
from tambourinefs.rpc import keypair, pki

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tambourinefs.doctor.patient import Patient

Key = Literal["fits", "differs", "missing", "hidden"]
_MAX: Final = 1 << 20  # bytes
_OPEN: Final = {
    "ca": 0o077,
    "server": 0o077,
    "client": 0o137,
}  # bits that a key's mode must not have


@dataclass(frozen=True, slots=True)
class Facts:
    """One certificate. `problem` is why it cannot be used, "" where it can; times are None then."""

    name: pki.Name
    problem: str = ""
    not_before: datetime | None = None
    not_after: datetime | None = None
    signed: bool = True  # by the authority that is there
    key: Key = "fits"
    key_open: bool = False  # the key's mode or owner lets others read it, or keeps its owner out

    def due(self, now: datetime) -> bool:
        """Is it time to renew it, by the same rule as `pki renew`?"""
        assert self.not_before is not None
        assert self.not_after is not None
        return self.not_after - now < (self.not_after - self.not_before) * pki.DUE


def probe(directory: Path) -> tuple[Facts, ...]:
    """The three, in the order of pki.NAMES."""
    authority = _certificate(directory / "ca.crt")
    return tuple(_look(directory, name, authority) for name in pki.NAMES)


def _look(directory: Path, name: pki.Name, authority: x509.Certificate | str) -> Facts:
    found = _certificate(directory / f"{name}.crt")
    key, key_open = _key(directory, name)
    if isinstance(found, str):
        return Facts(name, found, key=key, key_open=key_open)
    facts = Facts(name, "", found.not_valid_before_utc, found.not_valid_after_utc, key=key, key_open=key_open)  # fmt: skip
    if isinstance(authority, str):
        return facts
    try:
        found.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return replace(facts, signed=False)
    return facts


def _certificate(path: Path) -> x509.Certificate | str:
    """The certificate, or why there is none."""
    try:
        with path.open("rb") as file:
            return x509.load_pem_x509_certificate(file.read(_MAX))
    except FileNotFoundError:
        return "is missing"
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    except ValueError:
        return "is not a certificate"


def _key(directory: Path, name: pki.Name) -> tuple[Key, bool]:
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
    """Is it its user's, or its group's? True where this host does not have them: the units say so then."""
    with suppress(KeyError):
        if name == "server":
            return there.st_uid == pwd.getpwnam(paths.BOMBSHELL_USER).pw_uid
        if name == "client":
            return there.st_uid == 0 and there.st_gid == grp.getgrnam(paths.GROUP).gr_gid
        return there.st_uid == 0
    return True


def verdict(facts: tuple[Facts, ...], patient: Patient) -> Iterator[Finding]:
    """What is wrong with any, or one line."""
    directory, now = patient.config.bombshell.pki, datetime.fromtimestamp(patient.now, UTC)
    ca = facts[0]
    wrong = [finding for one in facts for finding in _of(one, ca, directory, now)]
    yield from wrong
    if any(one.key == "hidden" for one in facts):
        yield needs_root("certificates", "whether the keys fit")
    if not wrong:
        first = min(facts[1:], key=lambda one: one.not_after or now)
        ends = ", ".join(f"{one.name} {one.not_after:%Y-%m-%d}" for one in facts if one.not_after)
        left = _left((first.not_after or now) - now)
        yield Finding("certificates", "ok", f"good for {left} more: {ends}")


def _left(span: timedelta) -> str:
    return f"{span.days} days" if span.days > 1 else f"{int(span.total_seconds() // 60)} minutes"


def _of(one: Facts, ca: Facts, directory: str, now: datetime) -> Iterator[Finding]:
    where = "" if directory == str(paths.PKI) else f" --dir {quoted(directory)}"
    anew, renew = f"tambourine pki init --force{where}", f"tambourine pki renew{where}"
    certificate, key = f"{directory}/{one.name}.crt", f"{directory}/{one.name}.key"
    # A leaf alone can be made anew where the authority is whole: what the others have stays good.
    whole = not ca.problem and ca.key in {"fits", "hidden"}
    remake = f"rm -f {quoted(certificate)} && tambourine pki init{where}" if whole else anew
    if one.name == "ca":
        remake = anew
    if one.problem:
        yield Finding("certificates", "error", f"{certificate} {one.problem}", remake)
    elif one.key == "missing" and one.name == "ca":
        text = f"{key} is missing: no certificate can be renewed"
        yield Finding("certificates", "warning", text, anew)
    elif one.key in {"missing", "differs"}:
        what = "is missing" if one.key == "missing" else f"does not belong to {one.name}.crt"
        yield Finding("certificates", "error", f"{key} {what}", remake)
    elif not one.signed:
        text = f"{certificate} was not signed by {directory}/ca.crt"
        yield Finding("certificates", "error", text, remake)
    elif one.not_before and one.not_before > now:
        text = f"{certificate} is not valid before {one.not_before:%Y-%m-%d %H:%M} UTC: is the clock right?"  # fmt: skip
        yield Finding("certificates", "error", text, f"{renew} --force")
    elif one.not_after and one.not_after <= now:
        text = f"{certificate} ended {one.not_after:%Y-%m-%d %H:%M} UTC"
        yield Finding("certificates", "error", text, renew if whole else anew)
    elif one.due(now):
        text = f"{certificate} ends {one.not_after:%Y-%m-%d} and is due for renewal"
        yield Finding("certificates", "warning", text, renew if whole else anew)
    if one.key_open and one.key != "missing":
        yield _closed(one.name, key)


def _closed(name: pki.Name, key: str) -> Finding:
    owner, mode = {
        "ca": ("root:root", "0600"),
        "server": (f"{paths.BOMBSHELL_USER}:root", "0400"),
        "client": (f"root:{paths.GROUP}", "0640"),
    }[name]
    text = f"{key} has another owner or mode than {owner} {mode}"
    mend = f"chown {owner} {quoted(key)} && chmod {mode} {quoted(key)}"
    return Finding("certificates", "error", text, mend)
