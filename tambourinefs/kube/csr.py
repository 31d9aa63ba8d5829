"""A node's identity by the API server's own signing (certificates.k8s.io/v1, signer kubernetes.io/kube-apiserver-client).

The private key is made here and leaves this host in no form. What comes back is one PEM text, key and certificate, as the
kubelet keeps its own.
"""

from __future__ import annotations

import threading
import time
import warnings
from base64 import b64decode, b64encode
from collections.abc import Callable
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tambourinefs.errors import HostError, RefusedByPolicy, TambourineError
from tambourinefs.kube.api import Api
from tambourinefs.kube.backoff import Backoff
from tambourinefs.kube.resources import CSRS
from tambourinefs.model import cluster

SIGNER: Final = "kubernetes.io/kube-apiserver-client"
USAGES: Final = ("digital signature", "client auth")
# RFC 5280 bounds a common name to 64 characters; no API server does, and a Node's name may be longer.
warnings.filterwarnings("ignore", "Attribute's length must be", UserWarning)
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
    """Ask for a certificate for `node`, wait for it, and return key and certificate (PEM).

    Raises RefusedByPolicy where it is denied, HostError where nobody has signed it within `seconds`.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    made = api.create(CSRS, _object(node, key, lifetime))
    name = made["metadata"]["name"]
    progress(f"waiting for the controller to approve {name}")
    certificate = _wait(api, name, seconds, stop or threading.Event())
    if not _fits(certificate, key):
        raise HostError(f"{name}: the certificate that came back is not for our key")
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return private + certificate


def _object(node: str, key: ec.EllipticCurvePrivateKey, lifetime: int) -> dict[str, Any]:
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, cluster.NODE_GROUP),
            x509.NameAttribute(
                NameOID.COMMON_NAME, cluster.NODE_USER_PREFIX + node, _validate=False
            ),
        ]
    )
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
    trouble = "nobody has approved it: does the controller run?"
    while time.monotonic() < deadline and not stop.wait(backoff.next()):
        try:
            status = api.get(CSRS, name).get("status") or {}
        except TambourineError as error:
            trouble = str(error)
            continue
        for condition in status.get("conditions") or ():
            if condition["type"] in {"Denied", "Failed"}:
                raise RefusedByPolicy(f"{name} was refused: {condition.get('message', '')}")
            if condition["type"] == "Approved":
                trouble = "it is approved, but nobody has signed it: does kube-controller-manager?"
        if status.get("certificate"):
            return b64decode(status["certificate"])
    raise HostError(
        f"no certificate for {name} within {seconds:g} s: {trouble}",
        hint=f"kubectl describe csr {name}",
    )


def _fits(certificate: bytes, key: ec.EllipticCurvePrivateKey) -> bool:
    try:
        found = x509.load_pem_x509_certificate(certificate)
    except ValueError:
        return False
    return found.public_key() == key.public_key()
