"""Which certificate requests the controller approves, denies, and leaves alone, as tables of whole objects."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given
from hypothesis import strategies as st

from tambourinefs.controller import csr_policy
from tambourinefs.kube import csr as ask
from tests.unit import csr_zoo
from tests.unit.csr_zoo import NAMESPACE, Object

GOOD, HOSTILE = csr_zoo.good(), csr_zoo.hostile()


def decide(item: Object, *, used: bool = False, namespace: str = NAMESPACE) -> csr_policy.Decision:
    request = csr_policy.project(item)
    return (
        csr_policy.decide(request, namespace, used=used)
        if request
        else csr_policy.Decision("ignore")
    )


@pytest.mark.parametrize("item", GOOD.values(), ids=GOOD)
def test_approved(item: Object) -> None:
    assert decide(item).action == "approve"


@pytest.mark.parametrize("item", HOSTILE.values(), ids=HOSTILE)
def test_never_approved(item: Object) -> None:
    decision = decide(item)
    assert decision.action != "approve"
    assert bool(decision.why) == (decision.action == "deny")


@pytest.mark.parametrize("item", csr_zoo.settled().values(), ids=csr_zoo.settled())
def test_what_is_decided_stays(item: Object) -> None:
    assert decide(item).action == "ignore"


@pytest.mark.parametrize("item", csr_zoo.not_ours().values(), ids=csr_zoo.not_ours())
def test_what_is_not_ours_is_left_alone(item: Object) -> None:
    assert decide(item).action == "ignore"


def test_the_one_who_asks_in_vain_is_told_why() -> None:
    said = {
        "by h2's join account": "must not request an identity of node h1",
        "by h2": "must not request an identity of node h1",
        "first, the administrators' group besides": "the subject must be",
        "first, with a DNS name": "must not have extensions",
        "first, two requests": "one PEM block",
        "first, signed by another key": "the signature is not valid",
        "first, a short RSA key": "the RSA key must have 2048 to 4096 bits",
        "first, an unsupported curve": "on curve P-256 or P-384",
        "a server's use besides": "the usages must include client auth",
        "for ten years": "more than 366 days",
    }
    for name, why in said.items():
        decision = decide(HOSTILE[name])
        assert decision.action == "deny", name
        assert why in decision.why, name


def test_an_administrator_s_own_is_left_to_the_administrator() -> None:
    assert decide(HOSTILE["by an administrator"]).action == "ignore"


def test_a_token_is_good_for_one_identity() -> None:
    decision = decide(GOOD["first"], used=True)
    assert decision.action == "deny"
    assert "kubectl tambourine join h1" in decision.why
    assert decide(GOOD["renewal"], used=True).action == "approve"


def test_another_namespace_than_ours_has_join_accounts_of_its_own() -> None:
    elsewhere = csr_zoo.first(
        user=csr_zoo.join_account("h1", "tools"), groups=csr_zoo.account_groups("tools")
    )
    assert decide(elsewhere, namespace="tools").action == "approve"
    assert decide(elsewhere).action == "deny"
    assert decide(GOOD["first"], namespace="tools").action == "deny"


def test_what_a_host_of_ours_posts_is_approved() -> None:
    # The signer of a cluster reads what is posted, no more: this is all of it.
    for node in ("h1", "ip-10-0-0-1.ec2.internal", "n" * 200):
        posted: dict[str, Any] = ask._object(node, ec.generate_private_key(ec.SECP256R1()), 3600)
        posted["spec"] |= {"username": csr_zoo.identity(node), "groups": ["tambourine:nodes"]}
        posted["metadata"] |= {"name": "x", "resourceVersion": "1"}
        assert decide(posted).action == "approve", node


def test_the_signature_of_a_huge_key_is_not_even_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    huge = rsa.RSAPublicNumbers(65537, (1 << 16383) + 1).public_key()
    assert csr_policy._problem_of_key(huge) == "the RSA key must have 2048 to 4096 bits"
    monkeypatch.setattr(csr_policy, "_problem_of_key", lambda _: "no")
    assert decide(HOSTILE["first, signed by another key"]).why == "no"


GOOD_DER = x509.load_pem_x509_csr(csr_zoo.request(csr_zoo.of_node("h1"))).public_bytes(
    serialization.Encoding.DER
)


@given(at=st.integers(0, len(GOOD_DER) - 1), bit=st.integers(0, 7))
def test_no_bit_of_a_good_one_can_be_changed(at: int, bit: int) -> None:
    spoiled = bytearray(GOOD_DER)
    spoiled[at] ^= 1 << bit
    assert decide(csr_zoo.first(csr_zoo.pem(bytes(spoiled)))).action != "approve"


def test_a_signature_that_is_not_of_whole_bytes_is_not_approved() -> None:
    """Every second one ends in a bit that may be left out: cryptography reads on, Go shifts it all."""
    while True:
        good = x509.load_pem_x509_csr(csr_zoo.request(csr_zoo.of_node("h1")))
        if good.signature[-1] % 2 == 0:
            break
    spoiled = bytearray(good.public_bytes(serialization.Encoding.DER))
    spoiled[-len(good.signature) - 1] = 1
    assert decide(csr_zoo.first(csr_zoo.pem(bytes(spoiled)))).action != "approve"


@given(st.binary(max_size=300))
def test_any_bytes_are_taken(body: bytes) -> None:
    assert decide(csr_zoo.first(body)).action == "ignore"
    assert decide(csr_zoo.first(csr_zoo.pem(body))).action == "ignore"
