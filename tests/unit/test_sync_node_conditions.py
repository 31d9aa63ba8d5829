"""The conditions of a TambourineNode: which holds, why not, and since when. And what is wrong with certificates."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tambourinefs.model import cluster
from tambourinefs.model.status import Condition
from tambourinefs.sync import certificates, node_conditions

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
LIFE = timedelta(days=600)  # a sixth of it: 100 days
FINE = {"host": "", "identity": "", "certificates": "", "clock": ""}
LONG_AGO = "2026-01-01T00:00:00Z"
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


@pytest.fixture
def pki(tmp_path: Path) -> Path:
    """What `tambourine pki init` leaves; the authority's outlasts the others."""
    for name, life in (("ca", 10 * LIFE), ("client", LIFE), ("server", LIFE)):
        (tmp_path / f"{name}.crt").write_bytes(made(BEGIN, BEGIN + life))
    return tmp_path


def problem(pki: Path, day: float) -> str:
    return certificates.problem(pki, (BEGIN + timedelta(days=day)).timestamp())


# -- what is wrong with certificates --


@pytest.mark.parametrize("day", [0, 300, 499.9, 500])
def test_nothing_is_said_while_a_sixth_of_the_life_is_left(pki: Path, day: float) -> None:
    assert problem(pki, day) == ""


@pytest.mark.parametrize(("day", "verb"), [(500.1, "ends"), (599.9, "ends"), (600, "ended"), (900, "ended")])  # fmt: skip
def test_what_nobody_renewed_is_named_with_its_end(pki: Path, day: float, verb: str) -> None:
    ends = BEGIN + LIFE
    assert problem(pki, day) == (
        f"{pki}/client.crt {verb} {ends:%Y-%m-%d}; {pki}/server.crt {verb} {ends:%Y-%m-%d}: "
        "on that host, tambourine doctor"
    )


def test_one_that_was_renewed_is_not_named(pki: Path) -> None:
    renewed = BEGIN + timedelta(days=550)
    (pki / "client.crt").write_bytes(made(renewed, renewed + LIFE))
    said = problem(pki, 560)
    assert "server.crt ends" in said
    assert "client.crt" not in said


def test_the_authority_counts_as_well(pki: Path) -> None:
    (pki / "ca.crt").write_bytes(made(BEGIN, BEGIN + timedelta(days=30)))
    assert problem(pki, 29).startswith(f"{pki}/ca.crt ends 2026-01-31")


def test_a_clock_that_is_behind_is_said(pki: Path) -> None:
    assert problem(pki, -1).count("is not valid yet") == 3


@pytest.mark.parametrize("text", [b"", b"half of one", b"-----BEGIN CERTIFICATE-----\nAAAA"])
def test_what_is_no_certificate_is_said(pki: Path, text: bytes) -> None:
    (pki / "server.crt").write_bytes(text)
    said = problem(pki, 1)
    assert said.startswith(f"{pki}/server.crt: ")
    assert "certificate" in said


def test_one_that_is_missing_is_said(pki: Path) -> None:
    (pki / "client.crt").unlink()
    assert problem(pki, 1).startswith(f"{pki}/client.crt: No such file or directory: ")


# -- the conditions --


def node(*conditions: Condition) -> cluster.Node:
    return cluster.Node(status=cluster.NodeStatus(conditions=conditions))


def by_type(found: tuple[Condition, ...]) -> dict[str, Condition]:
    return {one.type: one for one in found}


def test_all_is_well() -> None:
    found = node_conditions.conditions(node(), {}, **FINE)
    assert {(one.type, one.status, one.reason, one.message) for one in found} == {
        ("Ready", "True", "Ready", ""),
        ("IdentityGood", "True", "Good", ""),
        ("CertificatesValid", "True", "Valid", ""),
        ("ClockGood", "True", "Good", ""),
    }


@pytest.mark.parametrize(
    ("what", "kind", "reason"),
    [
        ("host", "Ready", "HostUnreachable"),
        ("identity", "IdentityGood", "RenewalFailed"),
        ("certificates", "CertificatesValid", "RenewalFailed"),
        ("clock", "ClockGood", "ClockSkew"),
    ],
)
def test_what_is_wrong_is_one_condition_and_the_others_hold(
    what: str, kind: str, reason: str
) -> None:
    found = by_type(node_conditions.conditions(node(), {}, **FINE | {what: "because"}))
    wrong = found.pop(kind)
    assert (wrong.status, wrong.reason, wrong.message) == ("False", reason, "because")
    assert {one.status for one in found.values()} == {"True"}


def test_certificates_that_end_are_the_condition_s_message(pki: Path) -> None:
    said = problem(pki, 550)
    found = by_type(node_conditions.conditions(node(), {}, **FINE | {"certificates": said}))
    assert found["CertificatesValid"].reason == "RenewalFailed"
    assert f"{pki}/server.crt ends 2027-08-24" in found["CertificatesValid"].message


def test_a_refused_assignment_is_told_of_a_node_that_is_ready() -> None:
    """It does not stop the others; the message names it and the reason."""
    refused = {("apps", "one"): "no space", ("apps", "two"): "denied"}
    ready = by_type(node_conditions.conditions(node(), refused, **FINE))["Ready"]
    assert (ready.status, ready.reason) == ("True", "PartiallyRefused")
    assert ready.message == "apps/one: no space; apps/two: denied"


def test_its_time_is_that_of_the_last_change() -> None:
    before = node(Condition("CertificatesValid", "False", "RenewalFailed", "old", 0, LONG_AGO))
    same = by_type(node_conditions.conditions(before, {}, **FINE | {"certificates": "new"}))
    assert same["CertificatesValid"].last_transition_time == LONG_AGO
    assert same["CertificatesValid"].message == "new"
    changed = by_type(node_conditions.conditions(before, {}, **FINE))["CertificatesValid"]
    assert changed.status == "True"
    assert changed.last_transition_time > LONG_AGO


def test_a_message_has_a_bound() -> None:
    """What the API server would refuse must not keep the rest from being told."""
    found = by_type(node_conditions.conditions(node(), {}, **FINE | {"certificates": "x" * 10_000}))
    assert len(found["CertificatesValid"].message) == 4096
