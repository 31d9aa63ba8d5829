"""Certificate signing requests as the API server hands them out: two that are good, and what else a node, a stolen
join token or another user might post. The API server adds the user name and groups of the requester.
"""

from __future__ import annotations

import functools
import ipaddress
import warnings
from base64 import b64encode
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import AttributeOID, ExtendedKeyUsageOID, NameOID

from tambourinefs.model import cluster

Object = dict[str, Any]
Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey

NAMESPACE: Final = "tambourine-system"
SIGNER: Final = "kubernetes.io/kube-apiserver-client"
CLIENT_AUTH: Final = "client auth"
DAY: Final = 86400
AUTHENTICATED: Final = "system:authenticated"


def identity(node: str) -> str:
    """The user name of a node."""
    return cluster.NODE_USER_PREFIX + node


def join_account(node: str, namespace: str = NAMESPACE) -> str:
    """The user name of the account that `join` makes for a node."""
    return f"system:serviceaccount:{namespace}:tambourine-join-{node}"


def account_groups(namespace: str = NAMESPACE) -> list[str]:
    """The groups that the API server gives a service account."""
    return ["system:serviceaccounts", f"system:serviceaccounts:{namespace}", AUTHENTICATED]


@functools.cache
def p256() -> ec.EllipticCurvePrivateKey:
    """The key of all requests that are not about keys."""
    return ec.generate_private_key(ec.SECP256R1())


def attribute(
    oid: x509.ObjectIdentifier, value: str, kind: _ASN1Type = _ASN1Type.UTF8String
) -> x509.NameAttribute[str]:
    with warnings.catch_warnings():  # of RFC 5280's 64 characters, to which no API server holds
        warnings.simplefilter("ignore", UserWarning)
        return x509.NameAttribute(oid, value, kind, _validate=False)


def subject(common_name: str, *organizations: str) -> x509.Name:
    names = [attribute(NameOID.ORGANIZATION_NAME, name) for name in organizations]
    return x509.Name([*names, attribute(NameOID.COMMON_NAME, common_name)])


def of_node(node: str) -> x509.Name:
    return subject(identity(node), cluster.NODE_GROUP)


def request(
    name: x509.Name, *, key: Key | None = None, extensions: tuple[x509.ExtensionType, ...] = ()
) -> bytes:
    """PEM, signed by the key itself."""
    key = key or p256()
    builder = x509.CertificateSigningRequestBuilder().subject_name(name)
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    digest = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(key, digest).public_bytes(serialization.Encoding.PEM)


def with_password(name: x509.Name) -> bytes:
    """A request with an attribute that is no extension."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(name)
    builder = builder.add_attribute(AttributeOID.CHALLENGE_PASSWORD, b"please")
    return builder.sign(p256(), hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def by_another_key(name: x509.Name) -> bytes:
    """A request whose signature was not made by the key in it: bytes of the subject changed after signing."""
    der = x509.load_pem_x509_csr(request(name)).public_bytes(serialization.Encoding.DER)
    return pem(der[:-1] + bytes([der[-1] ^ 1]))


def pem(der: bytes) -> bytes:
    body = b64encode(der)
    lines = [body[at : at + 64] for at in range(0, len(body), 64)]
    return b"\n".join(
        [b"-----BEGIN CERTIFICATE REQUEST-----", *lines, b"-----END CERTIFICATE REQUEST-----", b""]
    )


def posted(
    body: bytes,
    *,
    user: str,
    groups: list[str] | None = None,
    signer: str = SIGNER,
    usages: tuple[str, ...] = (CLIENT_AUTH,),
    seconds: int | None = 30 * DAY,
    status: Object | None = None,
    name: str = "tambourine-h1-x7k2p",
) -> Object:
    """The object that the API server keeps."""
    spec: Object = {
        "request": b64encode(body).decode(),
        "signerName": signer,
        "usages": list(usages),
        "username": user,
        "uid": "3b7f2c1e-0000-4000-8000-000000000001",
        "groups": account_groups() if groups is None else groups,
    }
    if seconds is not None:
        spec["expirationSeconds"] = seconds
    return {
        "apiVersion": "certificates.k8s.io/v1",
        "kind": "CertificateSigningRequest",
        "metadata": {"name": name, "resourceVersion": "7"},
        "spec": spec,
        "status": status or {},
    }


def first(body: bytes | None = None, node: str = "h1", **how: Any) -> Object:
    """A first request of a node, posted with its join token; `how` spoils it."""
    how.setdefault("user", join_account(node))
    return posted(request(of_node(node)) if body is None else body, **how)


def renewal(body: bytes | None = None, node: str = "h1", **how: Any) -> Object:
    """A request of a node that has a certificate."""
    how.setdefault("user", identity(node))
    how.setdefault("groups", [cluster.NODE_GROUP, AUTHENTICATED])
    return posted(request(of_node(node)) if body is None else body, **how)


def good() -> dict[str, Object]:
    """What must be approved."""
    return {
        "first": first(),
        "renewal": renewal(),
        "first of a node with dots": first(node="ip-10-0-0-1.ec2.internal"),
        "renewal of a node with dots": renewal(node="ip-10-0-0-1.ec2.internal"),
        "first for an hour": first(seconds=3600),
        "first for as long as the signer likes": first(seconds=None),
        "first for a signing key": first(usages=("digital signature", CLIENT_AUTH)),
        "first as kubelets ask": first(
            usages=("digital signature", "key encipherment", CLIENT_AUTH)
        ),
        "first with its parts the other way round": first(
            request(x509.Name(reversed(list(of_node("h1")))))
        ),
        "first of a node with a long name": first(node="n" * 63 + "." + "n" * 60),
        "first without the newline at its end": first(request(of_node("h1")).rstrip()),
        "first by an RSA key": first(
            request(of_node("h1"), key=rsa.generate_private_key(65537, 2048))
        ),
        "first by a P-384 key": first(
            request(of_node("h1"), key=ec.generate_private_key(ec.SECP384R1()))
        ),
    }


def _subjects() -> dict[str, x509.Name]:
    """None of these is h1's own name, whoever asks."""
    rightful, group = identity("h1"), cluster.NODE_GROUP
    cn, o = NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME
    two = x509.RelativeDistinguishedName([attribute(o, group), attribute(o, "system:masters")])
    return {
        "another node's name": of_node("h2"),
        "another node that begins alike": of_node("h10"),
        "another node in capitals": of_node("H1"),
        "no node": subject(cluster.NODE_USER_PREFIX, group),
        "a space behind": subject(rightful + " ", group),
        "a newline behind": subject(rightful + "\n", group),
        "a zero byte behind": subject(rightful + "\0", group),
        "a kubelet's name": subject("system:node:h1", "system:nodes"),
        "a kubelet's name in our group": subject("system:node:h1", group),
        "our name in the kubelets' group": subject(rightful, "system:nodes"),
        "the administrators' group": subject(rightful, "system:masters"),
        "the administrators' group besides": subject(rightful, group, "system:masters"),
        "the administrators' group before": subject(rightful, "system:masters", group),
        "two groups in one part": x509.Name(
            [two, x509.RelativeDistinguishedName([attribute(cn, rightful)])]
        ),
        "the group twice": subject(rightful, group, group),
        "no group": subject(rightful),
        "an empty group besides": x509.Name(
            [attribute(o, group), attribute(o, " "), attribute(cn, rightful)]
        ),
        "no name": x509.Name([attribute(o, group)]),
        "nothing": x509.Name([]),
        "two names": x509.Name(
            [attribute(o, group), attribute(cn, rightful), attribute(cn, "admin")]
        ),
        "two names, the other way round": x509.Name(
            [attribute(cn, "admin"), attribute(o, group), attribute(cn, rightful)]
        ),
        "an organizational unit": x509.Name(
            [*of_node("h1"), attribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "x")]
        ),
        "a serial number": x509.Name([*of_node("h1"), attribute(NameOID.SERIAL_NUMBER, "1")]),
        "a uid (RFC 4514)": x509.Name([*of_node("h1"), attribute(NameOID.USER_ID, "1")]),
        # A name in 16 bits a letter reads alike to one parser and not to the next.
        "a name of 16-bit letters": x509.Name(
            [attribute(o, group), attribute(cn, rightful, _ASN1Type.BMPString)]
        ),
    }


def _raw(oid: str, value: str) -> x509.UnrecognizedExtension:
    return x509.UnrecognizedExtension(x509.ObjectIdentifier(oid), bytes.fromhex(value))


def _extensions() -> dict[str, x509.ExtensionType]:
    return {
        "a DNS name": x509.SubjectAlternativeName([x509.DNSName("kubernetes.default.svc")]),
        "an address": x509.SubjectAlternativeName(
            [x509.IPAddress(ipaddress.ip_address("10.0.0.1"))]
        ),
        "a URI": x509.SubjectAlternativeName([x509.UniformResourceIdentifier("spiffe://x/y")]),
        "an e-mail address": x509.SubjectAlternativeName([x509.RFC822Name("root@example.org")]),
        "an authority's constraints": x509.BasicConstraints(ca=True, path_length=None),
        "a server's use": x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]),
        # The parser has an error of its own for each of these two, which is no ValueError.
        "an X.400 address": _raw("2.5.29.17", "3004a3020500"),
        "an EDI party": _raw("2.5.29.17", "3004a5020500"),
        "an unknown extension": _raw("1.3.6.1.4.1.57264.1.1", "0c0178"),
    }


def _bodies() -> dict[str, bytes]:
    """None of these is a request that a host makes."""
    name, fine = of_node("h1"), request(of_node("h1"))
    other = request(subject("system:kube-controller-manager"))
    certificate_lines = fine.replace(b"CERTIFICATE REQUEST", b"CERTIFICATE")
    old = fine.replace(b"CERTIFICATE REQUEST", b"NEW CERTIFICATE REQUEST")
    return {
        "signed by another key": by_another_key(name),
        "a short RSA key": request(name, key=rsa.generate_private_key(65537, 1024)),
        "a key of another kind": request(name, key=ed25519.Ed25519PrivateKey.generate()),
        "an unsupported curve": request(name, key=ec.generate_private_key(ec.SECP256K1())),
        "a short curve": request(name, key=ec.generate_private_key(ec.SECP192R1())),
        "an attribute that is no extension": with_password(name),
        "empty": b"",
        "not PEM": b"hello",
        "PEM of something else": certificate_lines,
        "PEM by its old name": old,
        "two requests": fine + fine,
        "our request, then another": fine + other,
        "another request, then ours": other + fine,
        # Go takes a block at the beginning of a line alone, and so the second of these; our parser takes the first.
        "ours not at the beginning of its line, then another": b" " + fine + other,
        "a letter before ours, then another": b"x" + fine + other,
        "ours with a header, then another": fine.replace(b"-----\n", b"-----\nA: b\n\n", 1) + other,
        "another with a header, then ours": other.replace(b"-----\n", b"-----\nA: b\n\n", 1) + fine,
        "another without its end, then ours": other.replace(b"END", b"end") + fine,
        "ours without its end, then another": fine.replace(b"END", b"end") + other,
        "something before it": b"-----BEGIN NONSENSE-----\nAAAA\n-----END NONSENSE-----\n" + fine,
        "something behind it": fine + b"hello\n",
        "in lines of another length": fine.replace(b"\n", b"\r\n"),
        "cut short": pem(x509.load_pem_x509_csr(fine).public_bytes(serialization.Encoding.DER)[:-9]),
        "more behind the DER": pem(
            x509.load_pem_x509_csr(fine).public_bytes(serialization.Encoding.DER) + b"\0\0"
        ),
        "a megabyte": request(x509.Name([*name, attribute(NameOID.TITLE, "x" * (1 << 20))])),
    }  # fmt: skip


def _whos() -> dict[str, Object]:
    """A good request for h1, posted by a user without the right."""
    kubelet = ["system:nodes", AUTHENTICATED]
    return {
        "h2's join account": first(user=join_account("h2")),
        "h1's join account of another namespace": first(
            user=join_account("h1", "default"), groups=account_groups("default")
        ),
        "a user whose name only looks like an account": first(
            user=join_account("h1"), groups=[AUTHENTICATED]
        ),
        "an account that ends alike": first(
            user=f"system:serviceaccount:{NAMESPACE}:x-tambourine-join-h1"
        ),
        "an account that begins alike": first(user=join_account("h10")),
        "the account of sync": first(user=f"system:serviceaccount:{NAMESPACE}:{cluster.SYNC}"),
        "the controller itself": first(user=f"system:serviceaccount:{NAMESPACE}:{cluster.CONTROLLER}"),
        "a bare prefix": first(user=f"system:serviceaccount:{NAMESPACE}:tambourine-join-"),
        "h2": renewal(user=identity("h2")),
        "h1 outside its group": renewal(groups=[AUTHENTICATED]),
        "the group without the name": renewal(user="other"),
        "h1's kubelet": renewal(user="system:node:h1", groups=kubelet),
        "an administrator": renewal(user="admin", groups=["system:masters", AUTHENTICATED]),
        "no user": renewal(user="", groups=[]),
        "anonymous": renewal(user="system:anonymous", groups=["system:unauthenticated"]),
    }  # fmt: skip


def _terms() -> dict[str, Object]:
    """Good requests of the rightful, for another certificate than ours are."""
    return {
        "a server's use besides": first(usages=(CLIENT_AUTH, "server auth")),
        "a server's use": first(usages=("server auth",)),
        "no use": first(usages=()),
        "any use": first(usages=("any",)),
        "to sign with": first(usages=(CLIENT_AUTH, "cert sign")),
        "for ten years": first(seconds=10 * 365 * DAY),
        "for ten years, as a renewal": renewal(seconds=10 * 365 * DAY),
    }


def _settled() -> dict[str, Object]:
    """Decided already, by the controller or another approver."""

    def decided(kind: str) -> Object:
        return {"conditions": [{"type": kind, "status": "True", "reason": "r", "message": "m"}]}

    return {
        "approved": first(status=decided("Approved")),
        "denied": first(status=decided("Denied")),
        "failed": first(status=decided("Failed")),
        "signed": first(status={"certificate": "LS0tLS1CRUdJTg=="}),
    }


def _not_ours() -> dict[str, Object]:
    """Another approver's requests: neither approved nor denied."""
    kubelet = subject("system:node:h1", "system:nodes")
    signer = "kubernetes.io/kube-apiserver-client-kubelet"
    nodes = ["system:nodes", AUTHENTICATED]
    person = subject("alice", "developers")
    return {
        "a kubelet's": posted(request(kubelet), user="system:node:h1", groups=nodes, signer=signer),
        "a kubelet's serving certificate": posted(
            request(kubelet), user="system:node:h1", groups=nodes, signer="kubernetes.io/kubelet-serving",
            usages=("server auth",),
        ),
        "a person's": posted(request(person), user="admin", groups=["system:masters"]),
        "a person's that cannot be read": posted(b"hello", user="admin", groups=["system:masters"]),
        "another signer's": posted(request(person), user="admin", groups=[], signer="example.org/x"),
    }  # fmt: skip


def hostile() -> dict[str, Object]:
    """What must never be approved: everything that is wrong about a first request or a renewal."""
    found = {f"first, {word}": first(request(name)) for word, name in _subjects().items()}
    found |= {f"renewal, {word}": renewal(request(name)) for word, name in _subjects().items()}
    for word, extension in _extensions().items():
        body = request(of_node("h1"), extensions=(extension,))
        found |= {f"first, with {word}": first(body), f"renewal, with {word}": renewal(body)}
    for word, body in _bodies().items():
        found |= {f"first, {word}": first(body), f"renewal, {word}": renewal(body)}
    found |= {f"by {word}": item for word, item in _whos().items()}
    return found | _terms()


def settled() -> dict[str, Object]:
    """What must be left alone, since it is decided."""
    return _settled()


def not_ours() -> dict[str, Object]:
    """What belongs to other approvers and must be left alone."""
    return _not_ours()
