"""Identities that ask the API server for something, and what it answers."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import urllib3

from tambourinefs.model import cluster as model
from tests.cluster.world import Cluster
from tests.lab import kubepki

MERGE = "application/merge-patch+json"
APPLY = "application/apply-patch+yaml"


@dataclass(frozen=True)
class Answer:
    """HTTP status and decoded body."""

    code: int
    body: dict[str, Any]

    @property
    def said(self) -> str:
        return str(self.body.get("message", ""))

    @property
    def refused(self) -> bool:
        """Whether rights or a policy said no. AssertionError where the request failed for another reason: such a one
        would prove nothing.
        """
        if self.code == 403:
            return True
        exists = self.code == 409 and self.body.get("reason") == "AlreadyExists"
        assert self.code < 300 or exists, f"{self.code}: {self.said}"
        return False


@dataclass
class Caller:
    """One identity; `name` heads its column."""

    name: str
    server: str
    pool: urllib3.PoolManager
    headers: dict[str, str] = field(default_factory=dict)

    def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        kind: str = "application/json",
        **query: str,
    ) -> Answer:
        """One request. A watch is cut as soon as it was let in."""
        watch = "watch" in query
        answer = self.pool.request(
            method,
            f"{self.server}{path}?{urlencode(query)}",
            body=None if body is None else json.dumps(body).encode(),
            headers={**self.headers, "Content-Type": kind},
            preload_content=not watch,
            retries=False,
            timeout=20,
        )
        if watch and answer.status == 200:
            answer.close()
            return Answer(200, {})
        return Answer(answer.status, json.loads(answer.data))


def by_certificate(cluster: Cluster, name: str, subject: str) -> Caller:
    """A caller with a certificate of the lab's CA for `subject` (in openssl's notation)."""
    pki = cluster.plane.pki
    file = "caller-" + "".join(c if c.isalnum() else "-" for c in subject)
    if not (pki / f"{file}.crt").exists():
        kubepki.make_certificate(pki, file, subject)
    pool = urllib3.PoolManager(
        ca_certs=str(pki / "ca.crt"),
        cert_file=str(pki / f"{file}.crt"),
        key_file=str(pki / f"{file}.key"),
    )
    return Caller(name, cluster.plane.server, pool)


def node_by_certificate(cluster: Cluster, node: str) -> Caller:
    """The identity that `join` ends in."""
    subject = f"/O={model.NODE_GROUP}/CN={model.NODE_USER_PREFIX}{node}"
    return by_certificate(cluster, "certificate", subject)


def administrator(cluster: Cluster) -> Caller:
    return by_certificate(cluster, "administrator", "/O=system:masters/CN=test-admin")


def by_token(cluster: Cluster, name: str, token: str) -> Caller:
    """Whoever bears this token."""
    pool = urllib3.PoolManager(ca_certs=str(cluster.plane.pki / "ca.crt"))
    return Caller(name, cluster.plane.server, pool, {"Authorization": f"Bearer {token}"})
