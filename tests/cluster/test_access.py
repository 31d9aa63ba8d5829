"""What ends or changes under a client's feet heals by itself: tokens, authorities, versions, others' writes."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tambourinefs.controller.loop import Controller
from tambourinefs.errors import Conflict, Unreachable
from tambourinefs.kube import errors
from tambourinefs.kube.access import Access
from tambourinefs.kube.api import Api, Object, Page, connect
from tambourinefs.kube.clock import ServerClock
from tambourinefs.kube.events import Recorder
from tambourinefs.kube.reflector import Reflector
from tambourinefs.kube.resources import NODES, TAMBOURINES, Resource
from tambourinefs.model import cluster as model
from tests.cluster import kustomized
from tests.cluster.joining import fresh_node
from tests.cluster.manifests import fresh_name, sleeper, tambourine
from tests.cluster.member import Member
from tests.cluster.world import Cluster
from tests.lab import controlplane, kubepki
from tests.lab.tools import run


def _kubeconfig(cluster: Cluster, directory: Path, token: str) -> Path:
    """Token and authority in files, as a pod has them."""
    (directory / "token").write_text(token)
    (directory / "ca.crt").write_bytes((cluster.plane.pki / "ca.crt").read_bytes())
    server = {"server": cluster.plane.server, "certificate-authority": str(directory / "ca.crt")}
    config = {
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "c", "cluster": server}],
        "users": [{"name": "u", "user": {"token": token}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
    }  # fmt: skip
    file = directory / "kubeconfig"
    file.write_text(json.dumps(config))
    return file


def test_a_token_that_ended_is_read_again(control_plane: Cluster, tmp_path: Path) -> None:
    good = kustomized.token_of(control_plane, model.CONTROLLER, model.NAMESPACE)
    file = _kubeconfig(control_plane, tmp_path, "ended")
    api = connect(file, user_agent="tambourine-test")
    with pytest.raises(errors.Unauthorized):
        api.get(NODES, "none")
    stamp = file.stat()
    _kubeconfig(control_plane, tmp_path, good)
    assert file.stat() != stamp
    assert list(api.list_pages(NODES))


def test_another_authority_is_refused_and_the_right_one_taken_when_it_is_there(
    control_plane: Cluster, tmp_path: Path
) -> None:
    token = kustomized.token_of(control_plane, model.CONTROLLER, model.NAMESPACE)
    file = _kubeconfig(control_plane, tmp_path, token)
    right = (tmp_path / "ca.crt").read_bytes()
    api = connect(file, user_agent="tambourine-test")
    assert list(api.list_pages(NODES))
    kubepki.make_ca(tmp_path / "other")
    (tmp_path / "ca.crt").write_bytes((tmp_path / "other/ca.crt").read_bytes())
    with pytest.raises(Unreachable, match="certificate verify failed"):
        list(api.list_pages(NODES))
    (tmp_path / "ca.crt").write_bytes(right)
    assert list(api.list_pages(NODES))


def test_a_list_of_many_pages_is_whole_and_of_one_moment(control_plane: Cluster) -> None:
    namespace, api = control_plane.namespace, control_plane.api
    names = [f"page-{number}" for number in range(5)]
    control_plane.apply(*(tambourine(name, namespace) for name in names))
    pages = api.list_pages(TAMBOURINES, namespace, limit=2)
    first = next(pages)
    control_plane.kubectl("delete", "tmb", names[-1], "-n", namespace)  # after the list's moment
    control_plane.apply(tambourine("page-9", namespace))
    found = [first, *pages]
    assert [len(page.items) for page in found] == [2, 2, 1]
    assert [item["metadata"]["name"] for page in found for item in page.items] == names
    assert {page.resource_version for page in found} == {first.resource_version}


class _Small(Api):
    """Pages of two; the first list goes on from the first moment of etcd, as if it had waited for so long."""

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(Access(cluster.kubeconfig, "tambourine-test"))
        self.pages = 0
        self.gone = 0

    def list_pages(self, *args: Any, **named: Any) -> Iterator[Page]:
        for page in super().list_pages(*args, limit=2, **named):
            self.pages += 1
            yield page

    def _object(self, *args: Any, **named: Any) -> Object:
        try:
            answer = super()._object(*args, **named)
        except errors.Gone:
            self.gone += 1
            raise
        if self.pages == 0 and (token := answer["metadata"].get("continue")):
            # k8s.io/apiserver, pkg/storage/continue.go: base64 (URL) of JSON; `rv` is the list's moment
            said = json.loads(base64.urlsafe_b64decode(token + "=="))
            old = json.dumps(said | {"rv": 1}).encode()
            answer["metadata"]["continue"] = base64.urlsafe_b64encode(old).rstrip(b"=").decode()
        return answer


def _compact(cluster: Cluster) -> None:
    """Let etcd throw away what was before now, as kube-apiserver does every five minutes."""
    made = cluster.kubectl(
        "create", "configmap", fresh_name("now"), "-n", cluster.namespace, "-o", "json"
    )
    revision = json.loads(made.stdout)["metadata"]["resourceVersion"]
    enter = ("nsenter", f"--net=/proc/{cluster.plane.holder}/ns/net")
    body = json.dumps({"revision": revision, "physical": True})
    url = f"{controlplane.ETCD}/v3/kv/compaction"
    run(*enter, "curl", "--silent", "--show-error", "--fail", "--data", body, url)


def test_a_list_that_is_gone_amid_its_pages_is_begun_anew(control_plane: Cluster) -> None:
    namespace, stop = control_plane.namespace, threading.Event()
    names = {f"page-{number}" for number in range(5)}
    control_plane.apply(*(tambourine(name, namespace) for name in names))
    _compact(control_plane)
    api = _Small(control_plane)
    it: Reflector[str] = Reflector(
        api, TAMBOURINES, project=lambda item: str(item["metadata"]["name"]), namespace=namespace
    )  # fmt: skip
    thread = threading.Thread(target=it.run, args=(stop,))
    thread.start()
    try:
        control_plane.wait(it.synced.is_set, "a whole list")
        assert set(it.items.values()) == names
        assert api.gone == 1
        assert api.pages == 1 + 3  # one of the list that was cut, all of the next
        assert it.error == ""
    finally:
        stop.set()
        it.close()
        thread.join(10)


class _Old(Reflector[str]):
    """Its first list is told with a version of long ago, as after an outage that etcd was compacted in."""

    def __init__(self, api: Api, namespace: str) -> None:
        super().__init__(
            api, TAMBOURINES, project=lambda item: str(item["metadata"]["name"]),
            namespace=namespace,
        )  # fmt: skip
        self.lists = 0
        self.gone = 0

    def _list(self) -> str:
        self.lists += 1
        version = super()._list()
        return "1" if self.lists == 1 else version

    def _watch(self, version: str, stop: threading.Event) -> str:
        try:
            return super()._watch(version, stop)
        except errors.Gone:
            self.gone += 1
            raise


def test_a_version_that_is_gone_is_listed_anew(control_plane: Cluster) -> None:
    namespace, stop = control_plane.namespace, threading.Event()
    it = _Old(control_plane.api, namespace)
    thread = threading.Thread(target=it.run, args=(stop,))
    thread.start()
    try:
        control_plane.wait(lambda: it.gone == 1 and it.lists == 2, "410 and another list")
        control_plane.apply(tambourine("later", namespace))
        control_plane.wait(lambda: (namespace, "later") in it.items, "the change to be seen")
        assert it.lists == 2
        assert it.error == ""
    finally:
        stop.set()
        it.close()
        thread.join(10)


def test_an_answer_tells_how_far_our_clock_is(control_plane: Cluster) -> None:
    api = connect(control_plane.kubeconfig, user_agent="tambourine-test")
    list(api.list_pages(NODES))
    assert api.clock.problem == ""
    api.clock = ServerClock(lambda: time.time() - 5 * 3600)
    list(api.list_pages(NODES))
    assert api.clock.problem.startswith("this host's clock is 5 h 0 min behind the API server's")


class _Late(Api):
    """Another writer is faster: it writes before each of the first writes of assignments."""

    others = 3
    conflicts = 0

    def merge(
        self,
        resource: Resource,
        name: str,
        namespace: str,
        patch: Object,
        subresource: str = "",
        *,
        dry_run: bool = False,
    ) -> Object:
        if resource is NODES and "spec" in patch and self.others:
            self.others -= 1
            note = {"metadata": {"annotations": {"example.com/n": str(self.others)}}}
            super().merge(resource, name, namespace, note)
        try:
            return super().merge(resource, name, namespace, patch, subresource, dry_run=dry_run)
        except Conflict:
            self.conflicts += 1
            raise


@contextmanager
def _controlling(api: Api, *namespaces: str, deadline: float = 300.0) -> Iterator[None]:
    """A controller works in these namespaces alone."""
    recorder, stop = Recorder(api, "tambourine.dev/controller", "test"), threading.Event()
    works = Controller(api, recorder, namespaces=namespaces, deadline=deadline)
    work = [*(one.run for one in works.reflectors), works.run, recorder.run]
    threads = [threading.Thread(target=run, args=(stop,)) for run in work]
    for thread in threads:
        thread.start()
    try:
        yield
        assert all(thread.is_alive() for thread in threads), "the controller fell over"
    finally:
        stop.set()
        recorder.close()
        works.close()
        for thread in threads:
            thread.join(20)


@pytest.fixture
def nodes(control_plane: Cluster) -> Iterator[list[str]]:
    """Names of nodes that are taken away afterwards."""
    names = [fresh_node() for _ in range(3)]
    yield names
    control_plane.kubectl("delete", "--ignore-not-found", "node", *names)
    control_plane.kubectl("delete", "--ignore-not-found", "tmbn", *names)


def test_a_write_of_somebody_else_in_between_loses_nothing(
    control_plane: Cluster, nodes: list[str]
) -> None:
    name, namespace = fresh_name("late"), control_plane.namespace
    node = Member(control_plane, nodes[0], namespace)
    api = _Late(Access(control_plane.kubeconfig, "tambourine-test"))
    control_plane.apply(tambourine(name, namespace, unit=sleeper()))
    with _controlling(api, namespace):
        control_plane.wait(lambda: node.assigned(name), "it to be assigned")
    assert api.conflicts == 3
    assert control_plane.get("tmbn", nodes[0])["metadata"]["annotations"]["example.com/n"] == "0"


def test_a_deletion_ends_though_one_node_is_off_and_another_was_deleted(
    control_plane: Cluster, nodes: list[str]
) -> None:
    name, namespace = fresh_name("gone"), control_plane.namespace
    here, off, deleted = (Member(control_plane, node, namespace) for node in nodes)
    control_plane.apply(tambourine(name, namespace, unit=sleeper()))
    with _controlling(control_plane.api, namespace, deadline=4):
        for one in (here, off, deleted):
            control_plane.wait(lambda one=one: one.assigned(name), f"{one.name} to have it")  # type: ignore[misc]
        control_plane.kubectl("delete", "node", deleted.name)
        began = time.monotonic()
        control_plane.kubectl("delete", "tmb", name, "-n", namespace, "--wait=false")
        control_plane.wait(lambda: here.tombstones, "the order to remove it")
        here.acknowledge()
        control_plane.wait(
            lambda: not control_plane.is_there("tmb", name, "-n", namespace), "it to be gone",
        )  # fmt: skip
        assert time.monotonic() - began >= 4, "the one that is off was not waited for"
        control_plane.wait(lambda: not here.tombstones, "what was carried out to be forgotten")
        assert [item["state"] for item in off.assignments] == [model.ABSENT]
        off.acknowledge()  # it is on again and has uninstalled
        control_plane.wait(lambda: not off.assignments, "the last order to be carried out")


def test_of_several_namespaces_it_works_in_those_that_it_was_given(
    control_plane: Cluster, nodes: list[str]
) -> None:
    first, second, other = (control_plane.new_namespace() for _ in range(3))
    node = Member(control_plane, nodes[0], first, second, other)
    made = {namespace: fresh_name("one") for namespace in (other, first, second)}
    control_plane.apply(*(tambourine(made[each], each, unit=sleeper()) for each in made))

    def is_ready(namespace: str) -> bool:
        status = control_plane.get("tmb", made[namespace], "-n", namespace).get("status", {})
        return bool(status.get("nodes", {}).get("ready") == 1)

    with _controlling(control_plane.api, first, fresh_name("nobody-made-it"), second):
        for each in (first, second):
            control_plane.wait(lambda each=each: node.assigned(made[each]), "it to be assigned")  # type: ignore[misc]
            node.report(made[each])
            control_plane.wait(lambda each=each: is_ready(each), "it to be summed up")  # type: ignore[misc]
    assert not node.assigned(made[other])
    assert not control_plane.get("tmb", made[other], "-n", other).get("status")
