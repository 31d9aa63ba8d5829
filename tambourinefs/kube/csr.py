"""Requests a node's client certificate (certificates.k8s.io/v1, signer kubernetes.io/kube-apiserver-client).

The private key is generated here and never leaves the host. Key and certificate are one PEM file, as the kubelet's are.
"""

from __future__ import annotations

import threading
import time
import warnings
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tambourinefs.errors import HostError, RefusedByPolicy, TambourineError
from tambourinefs.kube.api import Api
from tambourinefs.kube.resources import CSRS
from tambourinefs.kube.workloop import Backoff
from tambourinefs.model import cluster

SIGNER: Final = "kubernetes.io/kube-apiserver-client"
USAGES: Final = ("digital signature", "client auth")
LIFETIME: Final = 90 * 24 * 3600  # seconds; the signer may give less


def request(
    api: Api,
    node: str,
    *,
    seconds: float,
    stop: threading.Event | None = None,
    lifetime: int = LIFETIME,
    progress: Callable[[str], None] = lambda _: None,
) -> bytes:
    """Create a request for `node`, wait for its certificate, and return key and certificate (PEM).

    Raises RefusedByPolicy where it is denied, HostError where it is not signed within `seconds`.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    made = api.create(CSRS, _object(node, key, lifetime))
    name = made["metadata"]["name"]
    progress(f"waiting for the controller to approve {name}")
    certificate = _wait(api, name, seconds, stop or threading.Event())
    if not _fits(certificate, key):
        raise HostError(f"{name}: the certificate is not for the key of this request")
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return private + certificate


def subject_attributes(common_name: str) -> list[x509.NameAttribute[str]]:
    """A node's subject, in the order that is written; see `long_common_names`."""
    return [
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, cluster.NODE_GROUP),
        x509.NameAttribute(NameOID.COMMON_NAME, common_name, _validate=False),
    ]


@contextmanager
def long_common_names() -> Iterator[None]:
    """Silence the warning about a common name of more than RFC 5280's 64 characters: no API server enforces them, and the
    name of a Node may be longer.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Attribute's length must be", UserWarning)
        yield


def _object(node: str, key: ec.EllipticCurvePrivateKey, lifetime: int) -> dict[str, Any]:
    with long_common_names():
        subject = x509.Name(subject_attributes(cluster.NODE_USER_PREFIX + node))
    signed = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())  # fmt: skip
    pem = signed.public_bytes(serialization.Encoding.PEM)
    return {
        "apiVersion": CSRS.api_version,
        "kind": CSRS.kind,
        "metadata": {"generateName": f"tambourine-{node[:200]}-"},
        "spec": {
            "request": b64encode(pem).decode(),
            "signerName": SIGNER,
            "usages": list(USAGES),
            "expirationSeconds": lifetime,
        },
    }


def _wait(api: Api, name: str, seconds: float, stop: threading.Event) -> bytes:
    deadline, backoff = time.monotonic() + seconds, Backoff(0.2, 3.0)
    problem = "not approved yet: is tambourine-controller running?"
    while time.monotonic() < deadline and not stop.wait(backoff.next()):
        try:
            status = api.get(CSRS, name).get("status") or {}
        except TambourineError as error:
            problem = str(error)
            continue
        for condition in status.get("conditions") or ():
            if condition["type"] in {"Denied", "Failed"}:
                raise RefusedByPolicy(f"{name} was refused: {condition.get('message', '')}")
            if condition["type"] == "Approved":
                problem = "approved, but not signed: is kube-controller-manager running?"
        if status.get("certificate"):
            return b64decode(status["certificate"])
    raise HostError(
        f"no certificate for {name} within {seconds:g} s: {problem}",
        hint=f"kubectl describe csr {name}",
    )


def _fits(certificate: bytes, key: ec.EllipticCurvePrivateKey) -> bool:
    try:
        found = x509.load_pem_x509_certificate(certificate)
    except ValueError:
        return False
    return found.public_key() == key.public_key()
