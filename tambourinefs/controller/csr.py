"""Which certificate requests are a node's own: pure. A first one comes with that node's join account, every later one from
the identity that it renews. What names no node of ours is none of our business.

Two programs read a request: this one, and in Go the one that signs it. Where they could read it differently, it is not
approved: it must be one PEM block as every tool writes it and nothing beside it (each skips other things before the block
that it takes), and a subject of two UTF-8 strings.
"""

from __future__ import annotations

from base64 import b64decode
from dataclasses import dataclass
from typing import Any, Final, Literal

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from tambourinefs.kube.csr import SIGNER
from tambourinefs.model import cluster, names

MAX_REQUEST: Final = 16 << 10  # bytes of PEM
MAX_LIFETIME: Final = 366 * 24 * 3600  # seconds
USAGES: Final = frozenset({"client auth", "digital signature", "key encipherment"})
CURVES: Final = (ec.SECP256R1, ec.SECP384R1)
RSA_BITS: Final = range(2048, 4096 + 1)


@dataclass(frozen=True, slots=True)
class Request:
    """A CertificateSigningRequest, projected."""

    name: str
    username: str
    uid: str  # of who asked: a service account made again under its name has another
    groups: tuple[str, ...]
    usages: frozenset[str]
    lifetime: int | None  # seconds
    pem: bytes
    settled: bool  # approved, denied or failed
    approved: bool
    issued: bool
    conditions: tuple[dict[str, Any], ...]
    version: str

    @property
    def node(self) -> str:
        """The node whose join account, in whichever namespace, asks; "" for anybody else."""
        _, separator, account = self.username.rpartition(f":{cluster.JOIN_PREFIX}")
        return account if separator else ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to do with it, and why. `renews`: the node whose identity is renewed, "" for a first one."""

    what: Literal["approve", "deny", "ignore"]
    why: str = ""
    renews: str = ""


def project(item: dict[str, Any]) -> Request | None:
    """Of a CertificateSigningRequest what decides; None of those that are for another signer."""
    spec, status = item["spec"], item.get("status") or {}
    if spec.get("signerName") != SIGNER:
        return None
    try:
        pem = b64decode(spec.get("request") or "", validate=True)
    except ValueError:
        return None
    conditions = tuple(status.get("conditions") or ())
    said = {one.get("type") for one in conditions}
    return Request(
        name=item["metadata"]["name"],
        username=spec.get("username", ""),
        uid=spec.get("uid", ""),
        groups=tuple(spec.get("groups") or ()),
        usages=frozenset(spec.get("usages") or ()),
        lifetime=spec.get("expirationSeconds"),
        pem=pem[: MAX_REQUEST + 1],
        settled=bool(said & {"Approved", "Denied", "Failed"} or status.get("certificate")),
        approved="Approved" in said,
        issued=bool(status.get("certificate")),
        conditions=conditions,
        version=str(item["metadata"]["resourceVersion"]),
    )


def judge(request: Request, namespace: str, *, used: bool = False) -> Verdict:
    """`namespace`: ours, where the join accounts are. `used`: this join account had a request approved before."""
    if request.settled or len(request.pem) > MAX_REQUEST:
        return Verdict("ignore")
    try:
        return _judge(x509.load_pem_x509_csr(request.pem), request, namespace, used=used)
    except Exception:
        # The parser meets bytes that anybody may have posted, and has a dozen kinds of errors for them, some of no
        # common kind. One such request must not end the controller, again and again for as long as it is there.
        return Verdict("ignore")


def _judge(
    parsed: x509.CertificateSigningRequest,
    request: Request,
    namespace: str,
    *,
    used: bool,
) -> Verdict:
    common = _values(parsed, NameOID.COMMON_NAME)
    if not any(name.startswith(cluster.NODE_USER_PREFIX) for name in common):
        return Verdict("ignore")
    if _is_an_administrator(request):
        return Verdict("ignore")  # theirs to approve or not
    trouble = _trouble(parsed, request.pem) or _trouble_of_wishes(request)
    if trouble:
        return Verdict("deny", trouble)
    return _by_requestor(
        request, common[0].removeprefix(cluster.NODE_USER_PREFIX), namespace, used=used
    )


def _values(parsed: x509.CertificateSigningRequest, oid: x509.ObjectIdentifier) -> list[str]:
    return [str(one.value) for one in parsed.subject.get_attributes_for_oid(oid)]


def _trouble(parsed: x509.CertificateSigningRequest, pem: bytes) -> str:
    if pem.rstrip(b"\n") != parsed.public_bytes(serialization.Encoding.PEM).rstrip(b"\n"):
        return "it must be one PEM block, in lines of 64 letters, and nothing else"
    common = _values(parsed, NameOID.COMMON_NAME)
    groups = _values(parsed, NameOID.ORGANIZATION_NAME)
    if len(common) != 1 or groups != [cluster.NODE_GROUP] or len(list(parsed.subject)) != 2:
        return f"the subject must be one CN and O={cluster.NODE_GROUP}, and nothing else"
    if parsed.subject.public_bytes() not in _spellings(common[0]):
        return "the subject must be two UTF-8 strings"
    if problem := names.object_name_problem(common[0].removeprefix(cluster.NODE_USER_PREFIX)):
        return f"not the name of a node: {problem}"
    if len(parsed.attributes):
        return "it asks for extensions or has attributes"
    if trouble := _trouble_of_key(parsed.public_key()):
        return trouble
    # The last part is the signature, a BIT STRING whose first byte counts bits to leave out: Go would shift by them.
    if parsed.public_bytes(serialization.Encoding.DER)[-len(parsed.signature) - 1] != 0:
        return "its signature is not of whole bytes"
    return "" if parsed.is_signature_valid else "its signature is not valid"


def _spellings(common: str) -> tuple[bytes, bytes]:
    """The subject as DER, in either order; UTF-8 strings, as we and openssl write them."""
    parts = [
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, cluster.NODE_GROUP),
        # Without the check of RFC 5280's 64 characters, which no API server makes.
        x509.NameAttribute(NameOID.COMMON_NAME, common, _validate=False),
    ]
    return x509.Name(parts).public_bytes(), x509.Name(parts[::-1]).public_bytes()


def _trouble_of_key(key: object) -> str:
    """Before its signature is looked at: to check that of a huge key is work."""
    if isinstance(key, ec.EllipticCurvePublicKey):
        return "" if isinstance(key.curve, CURVES) else "its key is on another curve than P-256 and P-384"  # fmt: skip
    if isinstance(key, rsa.RSAPublicKey):
        return "" if key.key_size in RSA_BITS else "its RSA key is too short, or too long"
    return "its key is of another kind than ECDSA and RSA"


def _trouble_of_wishes(request: Request) -> str:
    if not {"client auth"} <= request.usages <= USAGES:
        return "the usages must be client auth, and besides it those of a signing key alone"
    if request.lifetime is not None and request.lifetime > MAX_LIFETIME:
        return "it asks for more than a year"
    return ""


def _is_an_administrator(request: Request) -> bool:
    return "system:masters" in request.groups


def _by_requestor(request: Request, node: str, namespace: str, *, used: bool) -> Verdict:
    if request.username == cluster.NODE_USER_PREFIX + node and cluster.NODE_GROUP in request.groups:
        return Verdict("approve", f"node {node} renews its own identity", renews=node)
    account = f"system:serviceaccount:{namespace}:{cluster.join_account(node)}"
    # The group says that it is an account: a name alone might be a certificate's or an identity provider's.
    if request.username != account or f"system:serviceaccounts:{namespace}" not in request.groups:
        return Verdict("deny", f"{request.username} may not ask for an identity of node {node}")
    if used:
        why = f"the token has been used; for another: kubectl tambourine join {node}"
        return Verdict("deny", why)
    return Verdict("approve", f"node {node} joins with the token that was made for it")
