"""When a certificate begins and ends, out of its own bytes. Pure.

The agent tells this in metrics.prom; the library that checks certificates would cost it 7 MiB for two dates. Nothing is
verified here, and nothing is decided by it.

Source: RFC 5280, 4.1 (the structure) and 4.1.2.5 (the times); X.690 (DER).
"""

from __future__ import annotations

import binascii
from datetime import UTC, datetime
from typing import Final

_BEGIN: Final = b"-----BEGIN CERTIFICATE-----"
_END: Final = b"-----END CERTIFICATE-----"
_SEQUENCE: Final = 0x30
_VERSION: Final = 0xA0  # [0], which a certificate of version 1 lacks
_UTC_TIME: Final = 0x17  # of two digits for the year
_GENERALIZED_TIME: Final = 0x18


def validity(pem: bytes) -> tuple[float, float]:
    """The first certificate's notBefore and notAfter, in seconds since 1970-01-01 UTC.

    Raises ValueError where there is none, or it is cut or no certificate.
    """
    _, begin, rest = pem.partition(_BEGIN)
    body, end, _ = rest.partition(_END)
    if not begin or not end:
        raise ValueError("no PEM certificate")
    try:
        der = binascii.a2b_base64(body)
    except binascii.Error as error:
        raise ValueError(f"no PEM certificate: {error}") from error
    _, at, _ = _element(der, 0, _SEQUENCE)
    _, at, _ = _element(der, at, _SEQUENCE)  # tbsCertificate
    tag, _, after = _element(der, at)
    if tag == _VERSION:
        at = after
    for _ in ("serialNumber", "signature", "issuer"):
        _, _, at = _element(der, at)
    _, at, _ = _element(der, at, _SEQUENCE)
    tag, first, after = _element(der, at)
    before = _time(tag, der[first:after])
    tag, first, end_at = _element(der, after)
    return before, _time(tag, der[first:end_at])


def _element(der: bytes, at: int, wanted: int | None = None) -> tuple[int, int, int]:
    """(tag, where its content begins, where it ends) of the element at `at`."""
    if at + 2 > len(der):
        raise ValueError("the certificate is cut")
    tag, length, begin = der[at], der[at + 1], at + 2
    if length & 0x80:
        count = length & 0x7F
        if not 1 <= count <= 4:
            raise ValueError("the certificate has an impossible length")
        length = int.from_bytes(der[begin : begin + count])
        begin += count
    if begin + length > len(der):
        raise ValueError("the certificate is cut")
    if wanted is not None and tag != wanted:
        raise ValueError("this is no certificate")
    return tag, begin, begin + length


def _time(tag: int, content: bytes) -> float:
    if tag not in {_UTC_TIME, _GENERALIZED_TIME}:
        raise ValueError("this is no certificate")
    try:
        text = content.decode("ascii")
        if tag == _UTC_TIME:
            text = ("20" if text[:2] < "50" else "19") + text
        return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp()
    except ValueError as error:
        raise ValueError("the certificate has an impossible time") from error
