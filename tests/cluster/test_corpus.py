"""What the API server accepts the node accepts, and the other way round (`local` and sizes excepted; see corpus.py)."""

from __future__ import annotations

import json
import ssl
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest
import urllib3

from tambourinefs.errors import InvalidManifest
from tambourinefs.kube.errors import Invalid
from tambourinefs.kube.resources import TAMBOURINES
from tambourinefs.model import manifest
from tests.cluster import corpus
from tests.cluster.manifests import fresh_name, tambourine
from tests.cluster.world import Cluster

SEED = 4
MIXED = 2000
AT_ONCE = 4  # requests
QUERY = "dryRun=All&fieldValidation=Strict"


@dataclass(frozen=True)
class Answer:
    """Of the API server to a creation: what it would store, or why not."""

    stored: bytes  # b"" where it refused
    message: str


class Door:
    """The API server, asked what it would do; connections are kept."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        context = ssl.create_default_context(cafile=str(cluster.plane.pki / "ca.crt"))
        context.load_cert_chain(cluster.plane.pki / "admin.crt", cluster.plane.pki / "admin.key")
        self._pool = urllib3.PoolManager(maxsize=AT_ONCE, ssl_context=context)
        self._url = f"{cluster.plane.server}{TAMBOURINES.path(namespace)}?{QUERY}"

    def ask(self, data: bytes) -> Answer:
        answer = self._pool.request(
            "POST",
            self._url,
            body=data,
            headers={"Content-Type": "application/json"},
            retries=False,
        )
        if answer.status == 201:
            return Answer(answer.data, "")
        message = json.loads(answer.data).get("message", "")
        assert answer.status in {400, 404, 422}, (answer.status, message, data[:300])
        return Answer(b"", message)


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


def test_the_api_server_and_the_node_accept_the_same(control_plane: Cluster) -> None:
    door = Door(control_plane, control_plane.namespace)
    objects = list(corpus.corpus(SEED, MIXED))
    assert len(objects) > 9_000
    with ThreadPoolExecutor(AT_ONCE) as threads:
        answers = list(threads.map(door.ask, objects))
    taken = sum(bool(answer.stored) for answer in answers)
    assert taken > 1_000, "nearly nothing was accepted: the corpus proves little"
    assert len(objects) - taken > 5_000
    found = [
        said
        for data, answer in zip(objects, answers, strict=True)
        if (said := _disagreement(data, answer))
    ]
    assert not found, f"{len(found)} of {len(objects)} (seed {SEED}):\n" + "\n".join(found[:40])


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
    with pytest.raises(Invalid, match="name cannot be changed"):
        control_plane.api.merge(TAMBOURINES, name, namespace, {"spec": spec})


def test_kubectl_explains_every_step_of_a_spec(control_plane: Cluster) -> None:
    for path, says in (
        ("tambourine.spec.files", "path"),
        ("tambourine.spec.rollout.maxUnavailable", "not Ready at once"),
        ("tmbi.status.drop-in", "drop-ins that systemd read"),
    ):
        said = control_plane.kubectl("explain", path).stdout
        assert "DESCRIPTION:" in said
        assert says in said.partition("DESCRIPTION:")[2], said
        assert "<empty>" not in said
