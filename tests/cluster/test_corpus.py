"""What the API server accepts the node accepts, and the other way round (`local` and sizes excepted; see corpus.py)."""

from __future__ import annotations

import json
import ssl
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPSConnection
from typing import Any
from urllib.parse import urlsplit

import pytest

from tambourinefs.errors import InvalidManifest
from tambourinefs.kube.errors import Invalid
from tambourinefs.kube.resources import TAMBOURINES
from tambourinefs.model import manifest
from tests.cluster import corpus, kustomized
from tests.cluster.manifests import fresh_name, tambourine
from tests.cluster.world import Cluster

MIXED = 2000
PARALLEL = 2  # requests
RBAC = "rbac.authorization.k8s.io"
QUERY = "dryRun=All&fieldValidation=Strict"


@dataclass(frozen=True)
class Answer:
    """Of the API server to a creation: what it would store, or why not."""

    stored: bytes  # b"" where it refused
    message: str


class Door:
    """The API server's answers to dry runs: by a user with all rights in this namespace and a token, which it
    remembers; a certificate's signature it would verify for each request. One connection, by http.client: ten
    thousand requests through a pool cost as much here as there.
    """

    def __init__(self, cluster: Cluster, namespace: str, token: str) -> None:
        context = ssl.create_default_context(cafile=str(cluster.plane.pki / "ca.crt"))
        server = urlsplit(cluster.plane.server)
        self._connection = HTTPSConnection(
            str(server.hostname), server.port, timeout=30, context=context
        )
        self._path = f"{TAMBOURINES.path(namespace)}?{QUERY}"
        self._headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}

    def ask(self, objects: list[bytes]) -> list[Answer]:
        """Of each."""
        with closing(self._connection):
            return [self._ask(data) for data in objects]

    def _ask(self, data: bytes) -> Answer:
        self._connection.request("POST", self._path, data, self._headers)
        answer = self._connection.getresponse()
        said = answer.read()
        if answer.status == 201:
            return Answer(said, "")
        message = json.loads(said).get("message", "")
        assert answer.status in {400, 404, 422}, (answer.status, message, data[:300])
        return Answer(b"", message)


def _token(cluster: Cluster) -> str:
    """Of a user with all rights in the test's namespace."""
    namespace, metadata = cluster.namespace, {"name": "asks", "namespace": cluster.namespace}
    who = {"kind": "ServiceAccount", **metadata}
    role = {"apiGroup": RBAC, "kind": "ClusterRole", "name": "cluster-admin"}
    cluster.apply(
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata},
        {"apiVersion": f"{RBAC}/v1", "kind": "RoleBinding", "metadata": metadata, "subjects": [who], "roleRef": role},
    )  # fmt: skip
    return kustomized.token_of(cluster, "asks", namespace)


def _node(data: bytes) -> str:
    """Why the node's parser refuses it; "" where it does not."""
    try:
        manifest.parse_json(data, source="x")
    except InvalidManifest as error:
        return str(error)
    return ""


def _disagreement(data: bytes, answer: Answer) -> str:
    """What one of the two took and the other would not; "" while they agree."""
    if answer.stored and (why := _node(answer.stored)):
        return f"the API server takes what the node refuses: {why}\n    {_shown(data)}"
    if not answer.stored and not _node(data):
        return f"the node takes what the API server refuses: {answer.message[:300]}\n    {_shown(data)}"
    return ""


def _shown(data: bytes) -> str:
    text = data.decode()
    return text if len(text) < 900 else f"{text[:450]} … {text[-450:]}"


def test_the_api_server_and_the_node_accept_the_same(control_plane: Cluster, seed: int) -> None:
    objects = list(corpus.corpus(seed, MIXED))
    assert len(objects) > 9_000
    namespace, token = control_plane.namespace, _token(control_plane)
    doors = [Door(control_plane, namespace, token) for _ in range(PARALLEL)]
    with ThreadPoolExecutor(PARALLEL) as threads:
        started = [
            threads.submit(door.ask, objects[number::PARALLEL]) for number, door in enumerate(doors)
        ]
    answers: list[Answer] = [Answer(b"", "")] * len(objects)
    for number, asked in enumerate(started):
        answers[number::PARALLEL] = asked.result()
    taken = sum(bool(answer.stored) for answer in answers)
    assert taken > 1_000, "nearly nothing was accepted: the corpus proves little"
    assert len(objects) - taken > 5_000
    found = [
        said
        for data, answer in zip(objects, answers, strict=True)
        if (said := _disagreement(data, answer))
    ]
    assert not found, f"{len(found)} of {len(objects)} (seed {seed}):\n" + "\n".join(found[:40])


@pytest.mark.parametrize(
    ("spec", "taken"),
    [
        ({"name": "other"}, False),
        ({"name": "hello.service"}, False),  # the same unit, and yet another name
        ({"nodeName": "n2", "unit": corpus.UNIT, "state": "absent", "command": "stop"}, True),
        ({"nodeName": None}, True),
    ],
)
def test_the_name_alone_cannot_be_changed(control_plane: Cluster, spec: Any, taken: bool) -> None:
    name, namespace = fresh_name("kept"), control_plane.namespace
    item = tambourine(name, namespace)
    item["spec"] = {"name": "hello", "nodeName": "n1"}
    control_plane.apply(item)
    if taken:
        control_plane.api.merge(TAMBOURINES, name, namespace, {"spec": spec})
        return
    with pytest.raises(
        Invalid, match="name is immutable; delete this Tambourine and create another"
    ):
        control_plane.api.merge(TAMBOURINES, name, namespace, {"spec": spec})


def test_kubectl_explains_every_step_of_a_spec(control_plane: Cluster) -> None:
    for path, says in (
        ("tambourine.spec.files", "path"),
        ("tambourine.spec.rollout.maxUnavailable", "may be unavailable during a rollout"),
        ("tmbi.status.drop-in", "drop-ins that systemd has read"),
    ):
        said = control_plane.kubectl("explain", path).stdout
        assert "DESCRIPTION:" in said
        assert says in said.partition("DESCRIPTION:")[2], said
        assert "<empty>" not in said
