"""Which certificate requests are a node's own: pure. A first one comes with that node's join account, every later one from
the identity that it renews. What names no node of ours is none of our business.
"""

from __future__ import annotations

from base64 import b64decode
from dataclasses import dataclass
from typing import Any, Final, Literal

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from tambourinefs.kube.csr import SIGNER
from tambourinefs.model import cluster, names

MAX_REQUEST: Final = 16 << 10  # bytes of PEM
MAX_LIFETIME: Final = 366 * 24 * 3600  # seconds
USAGES: Final = frozenset({"client auth", "digital signature", "key encipherment"})


@dataclass(frozen=True, slots=True)
class Request:
    """A CertificateSigningRequest, projected."""

    name: str
    username: str
    groups: tuple[str, ...]
    usages: frozenset[str]
    lifetime: int | None  # seconds
    pem: bytes
    settled: bool  # approved, denied or failed
    issued: bool
    conditions: tuple[dict[str, Any], ...]
    version: str

    @property
    def node(self) -> str:
        """The node whose join account asks; "" for anybody else."""
        _, separator, account = self.username.rpartition(f":{cluster.JOIN_PREFIX}")
        return account if separator else ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to do with it, and why."""

    what: Literal["approve", "deny", "ignore"]
    why: str = ""


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
    return Request(
        name=item["metadata"]["name"],
        username=spec.get("username", ""),
        groups=tuple(spec.get("groups") or ()),
        usages=frozenset(spec.get("usages") or ()),
        lifetime=spec.get("expirationSeconds"),
        pem=pem[: MAX_REQUEST + 1],
        settled=any(one.get("type") in {"Approved", "Denied", "Failed"} for one in conditions),
        issued=bool(status.get("certificate")),
        conditions=conditions,
        version=str(item["metadata"]["resourceVersion"]),
    )


def judge(request: Request, namespace: str) -> Verdict:
    """`namespace`: ours, where the join accounts are."""
    if request.settled or len(request.pem) > MAX_REQUEST:
        return Verdict("ignore")
    try:
        parsed = x509.load_pem_x509_csr(request.pem)
        common = [str(one.value) for one in parsed.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]  # fmt: skip
    except (ValueError, UnsupportedAlgorithm):
        return Verdict("ignore")
    if not any(name.startswith(cluster.NODE_USER_PREFIX) for name in common):
        return Verdict("ignore")
    try:
        trouble = _trouble(parsed, common) or _trouble_of_wishes(request)
    except (ValueError, UnsupportedAlgorithm) as error:
        trouble = f"it cannot be read: {error}"
    if trouble:
        return Verdict("deny", trouble)
    return _by_requestor(request, common[0].removeprefix(cluster.NODE_USER_PREFIX), namespace)


def _trouble(parsed: x509.CertificateSigningRequest, common: list[str]) -> str:
    groups = [
        str(one.value) for one in parsed.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    ]
    if len(common) != 1 or groups != [cluster.NODE_GROUP] or len(list(parsed.subject)) != 2:
        return f"the subject must be one CN and O={cluster.NODE_GROUP}, and nothing else"
    if problem := names.object_name_problem(common[0].removeprefix(cluster.NODE_USER_PREFIX)):
        return f"not the name of a node: {problem}"
    if list(parsed.extensions):
        return "it asks for extensions"
    if not parsed.is_signature_valid:
        return "its signature is not valid"
    key = parsed.public_key()
    if isinstance(key, ec.EllipticCurvePublicKey):
        return "" if key.curve.key_size in {256, 384} else "its key is on another curve"
    if isinstance(key, rsa.RSAPublicKey):
        return "" if 2048 <= key.key_size <= 4096 else "its RSA key is too short, or too long"
    return "its key is of another kind than ECDSA and RSA"


def _trouble_of_wishes(request: Request) -> str:
    if not {"client auth"} <= request.usages <= USAGES:
        return "the usages must be client auth, and besides it those of a signing key alone"
    if request.lifetime is not None and request.lifetime > MAX_LIFETIME:
        return "it asks for more than a year"
    return ""


def _by_requestor(request: Request, node: str, namespace: str) -> Verdict:
    if request.username == cluster.NODE_USER_PREFIX + node and cluster.NODE_GROUP in request.groups:
        return Verdict("approve", f"node {node} renews its own identity")
    account = f"system:serviceaccount:{namespace}:{cluster.join_account(node)}"
    if request.username == account:
        return Verdict("approve", f"node {node} joins with the token that was made for it")
    if "system:masters" in request.groups:
        return Verdict("ignore")  # an administrator's own, to approve or not
    return Verdict("deny", f"{request.username} may not ask for an identity of node {node}")
