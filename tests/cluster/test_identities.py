"""Two nodes' real identities try every verb on every kind: what they are allowed is the table of docs/security.md.

TAMBOURINE_WRITE_TABLE=1 writes the table that was found into the page, instead of comparing.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tambourinefs.kube import resources as kinds
from tambourinefs.model import cluster as model
from tests.cluster import callers, kustomized, rights, stage
from tests.cluster.callers import MERGE, Answer, Caller
from tests.cluster.stage import NODE, OTHER, Stage
from tests.cluster.world import Cluster
from tests.lab.state import CHECKOUT

PAGE = CHECKOUT / "docs" / "security.md"
BETWEEN = re.compile(
    r"(?<=<!-- rights: begin; tests/cluster/test_identities.py -->\n).*?(?=<!-- rights: end -->)",
    re.DOTALL,
)
READS = ("get", "list", "watch")
WRITES = tuple(verb for verb in rights.VERBS if verb not in READS)
WIDE = tuple(verb for verb in rights.VERBS if verb != "apply")  # which RBAC calls patch
NAMESPACES = ("tambourine-system", "storage-agents", "kube-tambourine")


@pytest.fixture(scope="module")
def installed(shared_control_plane: Cluster) -> Iterator[Cluster]:
    """The control plane; afterwards it is as it was."""
    yield shared_control_plane
    stage.clear(shared_control_plane, NAMESPACES)
    kustomized.restore(shared_control_plane)


@pytest.fixture(params=NAMESPACES)
def on_stage(installed: Cluster, request: pytest.FixtureRequest, tmp_path: Path) -> Stage:
    """Tambourine, with its DaemonSet, put into a namespace by a kustomization, and the stage there."""
    return _install(installed, request.param, tmp_path)


@pytest.fixture(scope="module")
def one_stage(installed: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Stage:
    """The same in one namespace, for what is the same in all."""
    return _install(installed, NAMESPACES[0], tmp_path_factory.mktemp("one"))


def _install(cluster: Cluster, namespace: str, directory: Path) -> Stage:
    where = kustomized.write(directory / namespace, namespace, ["daemonset"])
    kustomized.install(cluster, where)
    found = stage.build(cluster, namespace)
    cluster.wait(lambda: _takes_effect(found), "roles and policies to take effect")
    return found


def _takes_effect(found: Stage) -> bool:
    """The bindings have moved: the token has the rights that the table is about, and no policy is asleep."""
    node, bound, loose, joining = found.callers
    mine = found.instance(NODE)
    path = kinds.INSTANCES.path(found.namespace, mine, "status")
    said = [who.ask("PATCH", path, {"status": {}}, MERGE, dryRun="All").code for who in (node, bound, loose)]  # fmt: skip
    request = joining.ask("GET", kinds.CSRS.path("", found.request)).code
    return said == [200, 200, 403] and request == 200


def test_what_a_node_may_is_what_the_page_says(on_stage: Stage) -> None:
    administrator = callers.administrator(on_stage.cluster)
    found = rights.table(on_stage.callers, administrator, stage.rows(on_stage))
    print(found)
    text = PAGE.read_text()
    if os.environ.get("TAMBOURINE_WRITE_TABLE"):
        PAGE.write_text(BETWEEN.sub(lambda _: found, text))
        return
    written = BETWEEN.search(text)
    assert written, f"{PAGE.name} has no place for the table"
    assert found == written[0], "docs/security.md: TAMBOURINE_WRITE_TABLE=1 writes what is so now"


def test_who_may_all_makes_what_a_node_tries_to_make(one_stage: Stage) -> None:
    """No new object of the table is refused for another reason than rights."""
    administrator = callers.administrator(one_stage.cluster)
    tried = [row for row in stage.rows(one_stage) if "create" in row.tried]
    assert len(tried) > 20
    for row in tried:
        assert rights.attempt(administrator, administrator, row, "create"), row.label


GROUPS = ("tambourine.dev", "coordination.k8s.io", "events.k8s.io", "certificates.k8s.io")
CHANGED = ("update", "patch", "apply")
# What the policies alone let through, where RBAC allows everything in these groups.
BY_POLICY = {
    "its TambourineNode": {"create"},
    "its TambourineNode/status": {*CHANGED},
    "its TambourineInstance/status": {*CHANGED},
    "its Lease in kube-node-lease": {"create", *CHANGED},
    "an event on its instance": {"create", *CHANGED},
    "a certificate request": {"create"},
}


def test_the_policies_alone_keep_a_node_to_its_own(one_stage: Stage) -> None:
    """RBAC is opened wide: what is refused now is refused by a policy."""
    cluster = one_stage.cluster
    rule = {"apiGroups": GROUPS, "resources": ["*"], "verbs": ["actasnode", *WIDE]}
    role = {
        "apiVersion": stage.RBAC,
        "kind": "ClusterRole",
        "metadata": {"name": "test-wide"},
        "rules": [rule],
    }
    subjects = [
        {"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": model.NODE_GROUP},
        {"kind": "ServiceAccount", "name": model.SYNC, "namespace": one_stage.namespace},
    ]
    binding = {
        "apiVersion": stage.RBAC,
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "test-wide"},
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "ClusterRole",
            "name": "test-wide",
        },
        "subjects": subjects,
    }
    cluster.apply(role, binding)
    try:
        administrator, (node, bound, loose, _) = callers.administrator(cluster), one_stage.callers
        path = kinds.TAMBOURINES.path(one_stage.namespace)

        def reads(who: callers.Caller) -> bool:
            return who.ask("GET", path).code == 200

        for who in (node, bound, loose):
            cluster.wait(partial(reads, who), "the role to count")
        rows = [row for row in stage.rows(one_stage) if row.resource.group in GROUPS]
        assert {row.label for row in rows} >= BY_POLICY.keys()
        for row in rows:
            for who in (node, bound, loose):
                allowed = {verb for verb in WRITES if rights.attempt(who, administrator, row, verb)}
                expected = BY_POLICY.get(row.label, set()) if who is not loose else set()
                assert allowed == expected, f"{who.name}: {row.label}"
    finally:
        cluster.kubectl("delete", "clusterrole/test-wide", "clusterrolebinding/test-wide")


@pytest.fixture(params=["certificate", "node-bound token"])
def node(one_stage: Stage, request: pytest.FixtureRequest) -> Caller:
    """node-a, by either identity."""
    return next(one for one in one_stage.callers if one.name == request.param)


def _says(answer: Answer, word: str) -> None:
    """One of Tambourine's policies refused it, for that reason."""
    assert answer.code == 403, answer
    assert "ValidatingAdmissionPolicy 'tambourine-" in answer.said, answer.said
    assert word in answer.said, answer.said


EMPTY = {"apiVersion": "tambourine.dev/v1alpha1", "kind": model.NODE_KIND}
OWNER = {"apiVersion": "v1", "kind": "Node", "name": NODE, "uid": "1"}
ASSIGNMENT = {"uid": "1", "namespace": "n", "name": "s", "generation": 1}


@pytest.mark.parametrize(
    "more",
    [
        {"spec": {"assignments": [ASSIGNMENT]}},
        {"metadata": {"finalizers": ["example.org/mine"]}},
        {"metadata": {"ownerReferences": [OWNER]}},
        {"metadata": {"labels": {"a": "b"}}},
        {"metadata": {"annotations": {model.RESYNC_REQUESTED_AT: "2026-01-01T00:00:00Z"}}},
    ],
    ids=["assignments", "finalizers", "owners", "labels", "annotations"],
)
def test_a_node_makes_its_tambourinenode_empty(
    node: Caller, more: dict[str, dict[str, object]]
) -> None:
    item = {**EMPTY, **more, "metadata": {"name": NODE, **more.get("metadata", {})}}
    _says(
        node.ask("POST", kinds.NODES.path(), item, dryRun="All"),
        "must create its TambourineNode without",
    )


def test_a_node_makes_no_other_tambourinenode(node: Caller) -> None:
    item = {**EMPTY, "metadata": {"name": "node-c"}}
    _says(
        node.ask("POST", kinds.NODES.path(), item, dryRun="All"),
        "may only write its own TambourineNode",
    )
    item = {**EMPTY, "metadata": {"generateName": "node-"}}
    _says(
        node.ask("POST", kinds.NODES.path(), item, dryRun="All"),
        "may only write its own TambourineNode",
    )


def test_whose_an_instance_is_goes_by_what_was_there_before(node: Caller, one_stage: Stage) -> None:
    administrator = callers.administrator(one_stage.cluster)
    path = kinds.INSTANCES.path(one_stage.namespace, one_stage.instance(OTHER), "status")
    stolen = {"spec": {"nodeName": NODE}, "status": {"active": "stolen"}}
    _says(node.ask("PATCH", path, stolen, MERGE), "its own instances")
    there = administrator.ask("GET", path).body
    assert there["spec"]["nodeName"] == OTHER
    assert "status" not in there


def test_through_a_status_nothing_else_is_written(node: Caller, one_stage: Stage) -> None:
    administrator = callers.administrator(one_stage.cluster)
    metadata = {
        "finalizers": ["example.org/mine"],
        "ownerReferences": [OWNER],
        "labels": {"a": "b"},
        "annotations": {"a": "b"},
    }
    for resource, namespace, name, spec in (
        (kinds.INSTANCES, one_stage.namespace, one_stage.instance(NODE), {"nodeName": OTHER}),
        (kinds.NODES, "", NODE, {"assignments": [ASSIGNMENT]}),
    ):
        path = resource.path(namespace, name, "status")
        before = administrator.ask("GET", path).body
        body: dict[str, Any] = {"metadata": metadata, "spec": spec, "status": {"conditions": []}}
        assert node.ask("PATCH", path, body, MERGE).code == 200
        after = administrator.ask("GET", path).body
        assert after.get("status") == {"conditions": []}, "the write did not happen"
        assert after.get("spec") == before.get("spec")
        for item in (before, after):
            del item["metadata"]["resourceVersion"]
            item["metadata"].pop("managedFields", None)
        assert after["metadata"] == before["metadata"]


def test_a_lease_of_its_own_is_a_plain_one_and_nobody_elses_is_read_by_writing(
    node: Caller, one_stage: Stage
) -> None:
    path = kinds.LEASES.path(model.LEASE_NAMESPACE, model.lease_name(NODE))
    for metadata in ({"finalizers": ["example.org/mine"]}, {"ownerReferences": [OWNER]}):
        _says(
            node.ask("PATCH", path, {"metadata": metadata}, MERGE), "may only write its own Lease"
        )
    for namespace, name in ((model.LEASE_NAMESPACE, NODE), (one_stage.namespace, model.CONTROLLER)):
        # A patch that changes nothing answers with the object, where it is let in.
        answer = node.ask("PATCH", kinds.LEASES.path(namespace, name), {}, MERGE)
        _says(answer, "may only write its own Lease")
        assert "spec" not in answer.body


def test_events_are_its_own_word_about_its_own_instances(node: Caller, one_stage: Stage) -> None:
    namespace = one_stage.namespace
    path = kinds.EVENTS.path(namespace)

    def told(instance: dict[str, object], **changes: object) -> Answer:
        item = rights.event(NODE, namespace, instance, "told") | changes
        return node.ask("POST", path, item, dryRun="All")

    def named(name: str) -> dict[str, object]:
        return {"metadata": {"name": name, "uid": "1"}}

    mine, others = one_stage.instances[NODE], one_stage.instances[OTHER]
    for name in (model.instance_name("svc", NODE), model.instance_name("dotted.svc", NODE)):
        assert told(named(name)).code == 201, name
    for instance in (
        others,
        *map(named, (f"svc.x.{NODE}", f"svc.{NODE}.x", NODE, f"svc-{NODE}", "x")),
    ):
        _says(told(instance), "its own instances")
    _says(told(mine, reportingInstance=OTHER), "that it reports itself")
    _says(told(mine, reportingController="kubelet"), "that it reports itself")
    pod = {"apiVersion": "v1", "kind": "Pod", "namespace": namespace, "name": f"svc.{NODE}"}
    _says(told(mine, regarding=pod), "its own instances")


def test_a_node_asks_for_a_client_certificate_alone(node: Caller) -> None:
    for signer in ("kubernetes.io/kubelet-serving", "kubernetes.io/kube-apiserver-client-kubelet"):
        answer = node.ask("POST", kinds.CSRS.path(), stage.request(signer), dryRun="All")
        _says(answer, "only request client certificates")


def test_who_has_a_nodes_name_and_not_its_group_is_nobody(one_stage: Stage) -> None:
    alone = callers.by_certificate(
        one_stage.cluster, "name alone", f"/CN={model.NODE_USER_PREFIX}{NODE}"
    )
    path = kinds.NODES.path("", NODE, "status")  # which the role that bears its name allows
    _says(alone.ask("PATCH", path, {"status": {}}, MERGE), "does not identify a node")


def test_a_nodes_token_of_another_account_and_a_group_without_a_name_are_nobody(
    one_stage: Stage,
) -> None:
    bound = ("--bound-object-kind=Node", f"--bound-object-name={NODE}")
    other = one_stage.by_token("another account", "default", *bound)
    group = callers.by_certificate(
        one_stage.cluster, "group alone", f"/O={model.NODE_GROUP}/CN=other"
    )
    path = kinds.INSTANCES.path(one_stage.namespace, one_stage.instance(NODE), "status")
    assert other.ask("PATCH", path, {"status": {}}, MERGE).code == 403
    _says(group.ask("PATCH", path, {"status": {}}, MERGE), "does not identify a node")
    _says(
        group.ask("POST", kinds.LEASES.path("default"), rights.lease("x", "x", "default")),
        "does not identify one",
    )


def test_kubelets_and_other_peoples_leases_and_events_are_left_alone(one_stage: Stage) -> None:
    """The policies bind identities of nodes, not the rest of the cluster."""
    cluster = one_stage.cluster
    kubelet = callers.by_certificate(cluster, "kubelet", f"/O=system:nodes/CN=system:node:{NODE}")
    path = kinds.LEASES.path(model.LEASE_NAMESPACE, NODE)
    assert kubelet.ask("PATCH", path, {"spec": {"leaseDurationSeconds": 41}}, MERGE).code == 200
    namespace = one_stage.namespace
    role = ("role", "other", "--verb=create", "--resource=events.events.k8s.io")
    cluster.kubectl("create", *role, "-n", namespace)
    binding = ("rolebinding", "other", "--role=other", "--user=other")
    cluster.kubectl("create", *binding, "-n", namespace)
    other = callers.by_certificate(cluster, "other", "/CN=other")
    item = rights.event("other", namespace, one_stage.instances[OTHER], "said-by-other")
    path = kinds.EVENTS.path(namespace)
    cluster.wait(lambda: other.ask("POST", path, item, dryRun="All").code == 201, "an event")
    cluster.kubectl("delete", "role,rolebinding", "other", "-n", namespace)
