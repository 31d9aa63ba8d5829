"""Whether the certificates of Bombshell and its clients on this host are renewed in time, for a condition."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from cryptography import x509

# tambourine-pki-renew.timer renews at a third of the lifetime: below a sixth it has failed.
LATE: Final = 1 / 6
_MAX_BYTES: Final = 1 << 20
_NAMES: Final = ("ca", "client", "server")


def problem(directory: Path, now: float) -> str:
    """Which certificate expires soon, has expired or cannot be read, or "". `now`: seconds since the epoch."""
    found = [_of(directory / f"{name}.crt", now) for name in _NAMES]
    said = "; ".join(text for text in found if text)
    return f"{said}: on that host, tambourine doctor" if said else ""


def _of(path: Path, now: float) -> str:
    try:
        with path.open("rb") as file:
            found = x509.load_pem_x509_certificate(file.read(_MAX_BYTES))
    except OSError as error:
        return f"{path}: {error.strerror}"
    except ValueError:
        return f"{path}: not a PEM certificate"
    begin, end = found.not_valid_before_utc.timestamp(), found.not_valid_after_utc.timestamp()
    if now < begin:
        return f"{path} is not valid yet"
    if end - now >= LATE * (end - begin):
        return ""
    verb = "ends" if now < end else "ended"
    return f"{path} {verb} {datetime.fromtimestamp(end, UTC):%Y-%m-%d}"
