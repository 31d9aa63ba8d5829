"""Do a certificate and a key belong together?"""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from tambourinefs.rpc import pki
from tambourinefs.rpc.keypair import matches


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    directory = tmp_path_factory.mktemp("pki")
    pki.init(directory, owners=pki.Owners())
    return {path.name: path.read_bytes() for path in Path(directory).iterdir()}


@pytest.mark.parametrize("name", pki.NAMES)
def test_a_pair_is_one(pem: dict[str, bytes], name: str) -> None:
    assert matches(pem[f"{name}.crt"], pem[f"{name}.key"])


def test_the_first_certificate_counts(pem: dict[str, bytes]) -> None:
    assert matches(pem["server.crt"] + pem["ca.crt"], pem["server.key"])
    assert not matches(pem["ca.crt"] + pem["server.crt"], pem["server.key"])


def test_anothers_key_is_none(pem: dict[str, bytes]) -> None:
    assert not matches(pem["server.crt"], pem["client.key"])


def test_malformed_pem_does_not_match(pem: dict[str, bytes]) -> None:
    for junk in (b"", b"\0", b"x" * (1 << 20), pem["server.crt"][:100]):
        assert not matches(junk, pem["server.key"])
        assert not matches(pem["server.crt"], junk)


def test_encrypted_key_does_not_match_and_no_password_is_prompted(
    pem: dict[str, bytes],
) -> None:
    encrypted = serialization.load_pem_private_key(pem["server.key"], None).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"password"),
    )
    assert not matches(pem["server.crt"], encrypted)
