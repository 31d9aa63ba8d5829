"""When a certificate ends, read without the library that checks certificates: the same two dates, and no surprises."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from tambourinefs.model.certificate import validity

KEY = ec.generate_private_key(ec.SECP256R1())


def made(begin: datetime, end: datetime, name: str = "n") -> bytes:
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(KEY.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end)
        .sign(KEY, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM)


@given(
    seconds=st.integers(-600_000_000, 4_000_000_000),
    days=st.integers(0, 40_000),
    name=st.text("abc", min_size=1, max_size=60),
)
def test_it_is_what_the_library_says(seconds: int, days: int, name: str) -> None:
    begin = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    end = begin + timedelta(days=days)
    assert validity(made(begin, end, name)) == (begin.timestamp(), end.timestamp())


def test_the_first_certificate_counts_and_a_key_before_it_does_not() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    key = KEY.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    first, second = made(now, now + timedelta(days=1)), made(now, now + timedelta(days=2))
    assert validity(key + first + second)[1] == (now + timedelta(days=1)).timestamp()


@pytest.mark.parametrize("damage", range(0, 700, 7))
def test_a_cut_one_is_refused(damage: int) -> None:
    pem = made(datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC))
    with pytest.raises(ValueError, match=r"certificate"):
        validity(pem[: min(damage, len(pem) - 30)])


@given(der=st.binary(max_size=200))
def test_anything_else_is_a_value_error(der: bytes) -> None:
    import base64

    body = base64.encodebytes(der)
    try:
        validity(b"-----BEGIN CERTIFICATE-----\n" + body + b"-----END CERTIFICATE-----\n")
    except ValueError as error:
        assert "certificate" in str(error)  # noqa: PT017 (most are refused, a few are not)
