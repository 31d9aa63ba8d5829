"""Which CertificateSigningRequests of nodes are approved. Pure.

A first request comes from the node's join account, a renewal from the identity that it renews. Requests that do not name
a node of Tambourine are ignored.

Two programs parse a request: this one, and kube-controller-manager (Go), which signs it. One that they could parse
differently is denied: it has to be a single PEM block as common tools write it, with nothing beside it (each parser skips
other text before the block), and a subject of two UTF-8 strings.
"""

from __future__ import annotations

from base64 import b64decode
from dataclasses import dataclass
from typing import Any, Final, Literal

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from tambourinefs.kube.csr import SIGNER, long_common_names, subject_attributes
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
    uid: str  # of the requesting account: one recreated under its name has another
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
        """The node whose join account, in any namespace, sent it; "" for another requestor."""
        _, separator, account = self.username.rpartition(f":{cluster.JOIN_PREFIX}")
        return account if separator else ""


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do with it, and why. `renews`: the node whose identity it renews, "" for a first one."""

    action: Literal["approve", "deny", "ignore"]
    why: str = ""
    renews: str = ""


def project(item: dict[str, Any]) -> Request | None:
    """A CertificateSigningRequest; None where it is for another signer."""
    spec, status = item["spec"], item.get("status") or {}
    if spec.get("signerName") != SIGNER:
        return None
    try:
        pem = b64decode(spec.get("request") or "", validate=True)
    except ValueError:
        return None
    conditions = tuple(status.get("conditions") or ())
    types = {one.get("type") for one in conditions}
    return Request(
        name=item["metadata"]["name"],
        username=spec.get("username", ""),
        uid=spec.get("uid", ""),
        groups=tuple(spec.get("groups") or ()),
        usages=frozenset(spec.get("usages") or ()),
        lifetime=spec.get("expirationSeconds"),
        pem=pem[: MAX_REQUEST + 1],
        settled=bool(types & {"Approved", "Denied", "Failed"} or status.get("certificate")),
        approved="Approved" in types,
        issued=bool(status.get("certificate")),
        conditions=conditions,
        version=str(item["metadata"]["resourceVersion"]),
    )


def decide(request: Request, namespace: str, *, used: bool = False) -> Decision:
    """`namespace`: of the join accounts. `used`: a request of this join account was approved before."""
    if request.settled or len(request.pem) > MAX_REQUEST:
        return Decision("ignore")
    try:
        with long_common_names():
            return _decide(x509.load_pem_x509_csr(request.pem), request, namespace, used=used)
    except Exception:
        # Any user may have posted these bytes, and the parser has a dozen unrelated kinds of errors for them. Such a
        # request must not end the controller, again and again for as long as it exists.
        return Decision("ignore")


def _decide(
    parsed: x509.CertificateSigningRequest,
    request: Request,
    namespace: str,
    *,
    used: bool,
) -> Decision:
    common = _values(parsed, NameOID.COMMON_NAME)
    if not any(name.startswith(cluster.NODE_USER_PREFIX) for name in common):
        return Decision("ignore")
    if _is_an_administrator(request):
        return Decision("ignore")  # left to the administrators
    problem = _problem(parsed, request.pem) or _problem_of_options(request)
    if problem:
        return Decision("deny", problem)
    return _by_requestor(
        request, common[0].removeprefix(cluster.NODE_USER_PREFIX), namespace, used=used
    )


def _values(parsed: x509.CertificateSigningRequest, oid: x509.ObjectIdentifier) -> list[str]:
    return [str(one.value) for one in parsed.subject.get_attributes_for_oid(oid)]


def _problem(parsed: x509.CertificateSigningRequest, pem: bytes) -> str:
    if pem.rstrip(b"\n") != parsed.public_bytes(serialization.Encoding.PEM).rstrip(b"\n"):
        return "the request must be one PEM block, in lines of 64 characters, and nothing else"
    common = _values(parsed, NameOID.COMMON_NAME)
    groups = _values(parsed, NameOID.ORGANIZATION_NAME)
    if len(common) != 1 or groups != [cluster.NODE_GROUP] or len(list(parsed.subject)) != 2:
        return f"the subject must be one CN and O={cluster.NODE_GROUP}, and nothing else"
    if parsed.subject.public_bytes() not in _spellings(common[0]):
        return "the subject must be two UTF-8 strings"
    if problem := names.object_name_problem(common[0].removeprefix(cluster.NODE_USER_PREFIX)):
        return f"the CN does not end in the name of a node: {problem}"
    if len(parsed.attributes):
        return "the request must not have extensions or attributes"
    if problem := _problem_of_key(parsed.public_key()):
        return problem
    # The last part is the signature, a BIT STRING whose first byte counts unused bits: Go would shift by them.
    if parsed.public_bytes(serialization.Encoding.DER)[-len(parsed.signature) - 1] != 0:
        return "the signature has unused bits"
    return "" if parsed.is_signature_valid else "the signature is not valid"


def _spellings(common: str) -> tuple[bytes, bytes]:
    """The subject as DER, in either order; UTF-8 strings, as kube/csr.py and openssl write them."""
    parts = subject_attributes(common)
    return x509.Name(parts).public_bytes(), x509.Name(parts[::-1]).public_bytes()


def _problem_of_key(key: object) -> str:
    """Checked before the signature: verifying that of a huge key is expensive."""
    if isinstance(key, ec.EllipticCurvePublicKey):
        return "" if isinstance(key.curve, CURVES) else "the key must be on curve P-256 or P-384"  # fmt: skip
    if isinstance(key, rsa.RSAPublicKey):
        return "" if key.key_size in RSA_BITS else "the RSA key must have 2048 to 4096 bits"
    return "the key must be ECDSA or RSA"


def _problem_of_options(request: Request) -> str:
    if not {"client auth"} <= request.usages <= USAGES:
        return "the usages must include client auth, and otherwise only digital signature and key encipherment"
    if request.lifetime is not None and request.lifetime > MAX_LIFETIME:
        return "expirationSeconds is more than 366 days"
    return ""


def _is_an_administrator(request: Request) -> bool:
    return "system:masters" in request.groups


def _by_requestor(request: Request, node: str, namespace: str, *, used: bool) -> Decision:
    if request.username == cluster.NODE_USER_PREFIX + node and cluster.NODE_GROUP in request.groups:
        return Decision("approve", f"node {node} renews its identity", renews=node)
    account = f"system:serviceaccount:{namespace}:{cluster.join_account(node)}"
    # The group proves that it is a service account: a name alone may be a certificate's or an identity provider's.
    if request.username != account or f"system:serviceaccounts:{namespace}" not in request.groups:
        return Decision("deny", f"{request.username} must not request an identity of node {node}")
    if used:
        return Decision(
            "deny", f"the token has been used; run kubectl tambourine join {node} for another"
        )
    return Decision("approve", f"node {node} joins with its token")
