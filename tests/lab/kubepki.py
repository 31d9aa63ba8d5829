"""The lab cluster's CA, certificates, tokens and kubeconfigs, by openssl(1): the lab has the standard library alone."""

from __future__ import annotations

import json
import secrets
from base64 import b64encode
from pathlib import Path

from tests.lab.tools import run

DAYS = "30"
# Who has a token, by its file: the name and group. The API server remembers a token; of a client certificate it would
# verify the signature with each request.
USERS = {"admin": ("admin", "system:masters"), "manager": ("system:kube-controller-manager", "")}


def make_ca(directory: Path) -> None:
    """ca.crt, ca.key, and sa.key, sa.pub for service account tokens."""
    directory.mkdir(mode=0o700, parents=True)
    run(
        "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", DAYS,
        "-subj", "/CN=tambourine-lab", "-keyout", str(directory / "ca.key"), "-out", str(directory / "ca.crt"),
        "-addext", "keyUsage=critical,digitalSignature,keyCertSign,cRLSign",
    )  # fmt: skip
    key = directory / "sa.key"
    run("openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", str(key))
    run("openssl", "pkey", "-in", str(key), "-pubout", "-out", str(directory / "sa.pub"))


def make_certificate(directory: Path, name: str, subject: str, *, server: str = "") -> None:
    """NAME.crt and NAME.key, signed by the CA. `server`: the subjectAltName of a server's; else a client's."""
    key, request, extensions = (directory / f"{name}.{end}" for end in ("key", "csr", "ext"))
    run(
        "openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
        "-subj", subject, "-keyout", str(key), "-out", str(request),
    )  # fmt: skip
    usage = "serverAuth" if server else "clientAuth"
    names = f"subjectAltName={server}\n" if server else ""
    extensions.write_text(f"keyUsage=critical,digitalSignature\nextendedKeyUsage={usage}\n{names}")
    run(
        "openssl", "x509", "-req", "-in", str(request), "-CA", str(directory / "ca.crt"),
        "-CAkey", str(directory / "ca.key"), "-CAcreateserial", "-days", DAYS,
        "-extfile", str(extensions), "-out", str(directory / f"{name}.crt"),
    )  # fmt: skip


def make_tokens(directory: Path) -> None:
    """NAME.token of each of USERS, and tokens.csv for the API server."""
    lines = []
    for name, (user, group) in USERS.items():
        token = secrets.token_hex(16)
        _write(directory / f"{name}.token", token)
        lines.append(",".join(filter(None, (token, user, name, group))) + "\n")
    _write(directory / "tokens.csv", "".join(lines))


def write_kubeconfig(directory: Path, name: str, server: str) -> Path:
    """NAME.kubeconfig, all in one file (JSON is YAML), for the token NAME."""
    authority = b64encode((directory / "ca.crt").read_bytes()).decode()
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {"name": "lab", "cluster": {"server": server, "certificate-authority-data": authority}}
        ],
        "users": [{"name": name, "user": {"token": (directory / f"{name}.token").read_text()}}],
        "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": name}}],
        "current-context": "lab",
    }  # fmt: skip
    path = directory / f"{name}.kubeconfig"
    _write(path, json.dumps(config, indent=2))
    return path


def _write(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(text)
