"""Joining in tests: the plugin as an administrator runs it, and an approver with the controller's rights."""

from __future__ import annotations

import base64
import datetime as dt
import itertools
import json
import os
import shlex
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from tambourinefs.cli.common.invitation import Invitation
from tambourinefs.controller import approver
from tambourinefs.kube.api import Api, connect
from tambourinefs.kube.errors import Forbidden, Invalid
from tambourinefs.kube.resources import CSRS
from tests.cluster.world import Cluster
from tests.lab import kubecontroller
from tests.lab.hosts import Host
from tests.unit import csr_zoo

_NUMBER = itertools.count(1)


def fresh_node() -> str:
    """The name of a node that no other test has."""
    return f"n{os.getpid()}-{next(_NUMBER)}"


def plugin(cluster: Cluster, *argv: str) -> subprocess.CompletedProcess[str]:
    """`kubectl tambourine ARGV…` as the administrator."""
    return subprocess.run(
        [sys.executable, "-m", "tambourinefs.cli.plugin.main", *argv],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "KUBECONFIG": str(cluster.kubeconfig)},
    )


def invite(cluster: Cluster, node: str, *options: str) -> list[str]:
    """The words of the one command that `kubectl tambourine join NODE` prints for the host."""
    done = plugin(cluster, "join", node, *options)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 1, lines
    return shlex.split(lines[0])


def by_token(invitation: Invitation, directory: Path) -> Api:
    """The API server as whoever holds this invitation."""
    return _connect(directory, invitation.server, invitation.ca, {"token": invitation.token})


def by_identity(cluster: Cluster, pem: Path) -> Api:
    """The API server as the node whose key and certificate lie in one file."""
    authority = (cluster.plane.pki / "ca.crt").read_text()
    user = {"client-certificate": str(pem), "client-key": str(pem)}
    return _connect(pem.parent, cluster.plane.server, authority, user)


def _connect(directory: Path, server: str, authority: str, user: dict[str, str]) -> Api:
    data = base64.b64encode(authority.encode()).decode()
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {"name": "c", "cluster": {"server": server, "certificate-authority-data": data}}
        ],
        "users": [{"name": "u", "user": user}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "c",
    }
    file = directory / f"kubeconfig-{next(_NUMBER)}"
    file.touch(mode=0o600)
    file.write_text(json.dumps(config))
    return connect(file, user_agent="tambourine-test")


@contextmanager
def approving(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, *, grace: float = 30.0
) -> Iterator[approver.Approver]:
    """An approver works, with the rights of the controller's service account."""
    monkeypatch.setattr(approver, "GRACE", grace)
    monkeypatch.setattr(approver, "CHECK_EVERY", 0.2)
    kubecontroller.give_identity(cluster.plane)
    api = connect(cluster.plane.pki / kubecontroller.IDENTITY, user_agent="tambourine-test")
    works, stop = approver.Approver(api, csr_zoo.NAMESPACE), threading.Event()
    threads = [
        threading.Thread(target=work, args=(stop,)) for work in (works.requests.run, works.run)
    ]
    for thread in threads:
        thread.start()
    try:
        Cluster.wait(works.requests.synced.is_set, "the approver's list")
        yield works
        assert all(thread.is_alive() for thread in threads), "the approver fell over"
    finally:
        stop.set()
        works.close()
        for thread in threads:
            thread.join(20)


def post(api: Api, spec: dict[str, Any]) -> str:
    """Post a request and return its name; "" where the API server itself refuses it."""
    wanted = {
        key: spec[key] for key in ("request", "signerName", "usages", "expirationSeconds") if key in spec
    }  # fmt: skip
    item = {
        "apiVersion": CSRS.api_version,
        "kind": CSRS.kind,
        "metadata": {"generateName": "test-join-"},
        "spec": wanted,
    }
    try:
        return str(api.create(CSRS, item)["metadata"]["name"])
    except (Invalid, Forbidden):
        return ""


@dataclass(frozen=True)
class Fate:
    """What became of a request."""

    condition: str  # Approved, Denied, or "" while undecided
    message: str
    certificate: bytes


def fate(api: Api, name: str) -> Fate:
    status = api.get(CSRS, name).get("status") or {}
    condition: dict[str, str] = next(iter(status.get("conditions") or ()), {})
    body = base64.b64decode(status.get("certificate") or "")
    return Fate(condition.get("type", ""), condition.get("message", ""), body)


def aged(pki: Path, node: str, lived: dt.timedelta, left: dt.timedelta) -> bytes:
    """A node's key and certificate (PEM), signed by the cluster's authority some time ago."""
    authority = x509.load_pem_x509_certificate((pki / "ca.crt").read_bytes())
    signer = serialization.load_pem_private_key((pki / "ca.key").read_bytes(), password=None)
    assert isinstance(signer, ec.EllipticCurvePrivateKey)
    key, now = ec.generate_private_key(ec.SECP256R1()), dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(csr_zoo.of_node(node))
        .issuer_name(authority.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - lived)
        .not_valid_after(now + left)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .sign(signer, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return private + certificate.public_bytes(serialization.Encoding.PEM)


@contextmanager
def put_back(cluster: Cluster, host: Host) -> Iterator[None]:
    """Whatever is done inside, this host has its identity and configuration again, and the cluster knows."""
    sync = "tambourine-sync.service"
    host.run("cp", "-a", "/etc/tambourine", "/var/lib/tambourine/identity", "/root/")
    allowed = cluster.get("tmbn", host.name)["status"]["namespaces"]
    yield
    edited = [
        place
        for place in ("/etc/tambourine", "/var/lib/tambourine/identity")
        if host.run("diff", "-r", f"/root/{Path(place).name}", place, check=False).returncode != 0
    ]
    if edited:
        host.run("systemctl", "stop", sync)
    for place in edited:
        host.run("cp", "-a", f"/root/{Path(place).name}", str(Path(place).parent))
    host.run("rm", "-r", "/root/tambourine", "/root/identity")
    if "/etc/tambourine" in edited:
        host.run("systemctl", "restart", "tambourine.service")
    host.run("systemctl", "start", sync)
    cluster.wait(
        lambda: cluster.get("tmbn", host.name)["status"]["namespaces"] == allowed,
        f"{host.name} as it was",
    )
