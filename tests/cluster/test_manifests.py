"""k8s/ as a user applies it: moved by a kustomization, its controller with its own rights, its policies awake."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import click
import pytest

from tambourinefs import __version__
from tambourinefs.cli.admin import cluster as programs
from tambourinefs.kube import lease, workloop
from tambourinefs.kube.api import Api, connect
from tambourinefs.kube.errors import Forbidden
from tambourinefs.kube.resources import INSTANCES, NODES
from tambourinefs.model import cluster as model
from tests.cluster import kustomized, pods
from tests.cluster.manifests import fresh_name, sleeper, tambourine
from tests.cluster.world import Cluster
from tests.lab.hosts import CommandFailed
from tests.lab.state import CHECKOUT

Object = dict[str, Any]
CRDS = ("tambourines", "tambourinenodes", "tambourineinstances", "tambourinerevisions")
TEMPLATED = {"tambourine-controller": programs.controller, "tambourine-sync": programs.sync}


def rendered(cluster: Cluster, directory: Path) -> list[Object]:
    """What `kubectl kustomize` makes of it."""
    import yaml

    return list(yaml.safe_load_all(cluster.kubectl("kustomize", str(directory)).stdout))


@pytest.fixture
def movable(control_plane: Cluster) -> Iterator[Cluster]:
    """The control plane, whose Tambourine a test may move; it is put back."""
    yield control_plane
    kustomized.restore(control_plane)


@pytest.fixture
def namespace(control_plane: Cluster) -> str:
    return control_plane.namespace


def test_a_kustomization_moves_all_of_it(movable: Cluster, tmp_path: Path) -> None:
    for name in (movable.new_namespace(), movable.new_namespace()):
        directory = kustomized.write(tmp_path / name, name, ["daemonset"])
        found = rendered(movable, directory)
        assert "tambourine-system" not in json.dumps(found)
        assert {item["metadata"].get("namespace") for item in found} <= {None, name}
        subjects = [
            subject
            for item in found
            for subject in item.get("subjects", ())
            if subject["kind"] == "ServiceAccount"
        ]
        assert len(subjects) >= 4
        assert {subject["namespace"] for subject in subjects} == {name}
        kustomized.install(movable, directory)
        movable.wait(partial(_controls, movable, name), f"the controller's rights in {name}")
    assert not _controls(movable, model.NAMESPACE)


def _controls(movable: Cluster, namespace: str) -> bool:
    """Whether the controller of that namespace has its rights."""
    may = ("auth", "can-i", "patch", "tambourines.tambourine.dev", "--all-namespaces")
    who = f"--as=system:serviceaccount:{namespace}:tambourine-controller"
    return movable.kubectl(*may, who, check=False).stdout == "yes\n"


def test_of_a_namespace_that_is_there_nothing_is_changed(movable: Cluster, tmp_path: Path) -> None:
    name = movable.new_namespace()
    before = movable.get("namespace", name)["metadata"]
    kustomized.install(movable, kustomized.write(tmp_path, name, ["existing-namespace"]))
    after = movable.get("namespace", name)["metadata"]
    assert (after["labels"], after["resourceVersion"]) == (
        before["labels"],
        before["resourceVersion"],
    )
    assert movable.get("deployment", "tambourine-controller", "-n", name)


def test_every_policy_is_whole_awake_and_fails_closed(control_plane: Cluster) -> None:
    policies = control_plane.get("validatingadmissionpolicies")["items"]
    ours = {item["metadata"]["name"]: item for item in policies}
    files = "".join(path.read_text() for path in (kustomized.K8S / "policies").glob("*.yaml"))
    assert set(ours) == set(re.findall(r"policyName: (\S+)", files))

    def no_warnings(name: str) -> bool:
        return _checked(control_plane, name) == {}

    whose = set()
    for name, item in ours.items():
        assert item["spec"]["failurePolicy"] == "Fail", name
        binding = control_plane.get("validatingadmissionpolicybinding", name)["spec"]
        assert (binding["policyName"], binding["validationActions"]) == (name, ["Deny"])
        control_plane.wait(partial(no_warnings, name), f"{name} to be checked")
        assert "system:serviceaccount:tambourine" not in json.dumps(item["spec"]), (
            "a name that kustomize would miss"
        )
        for variable in item["spec"].get("variables", ()):
            if variable["name"] == "node":
                whose.add(variable["expression"])
    assert len(whose) == 1, "the policies do not agree about who a node is"


def _checked(control_plane: Cluster, name: str) -> Object:
    """What the API server's type check complained about; KeyError until it has looked."""
    status = control_plane.get("validatingadmissionpolicy", name)["status"]
    found: Object = status["typeChecking"]
    return found


def test_local_never_comes_from_a_cluster(control_plane: Cluster) -> None:
    control_plane.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "local"}})
    item = tambourine("svc", "local", unit=sleeper())
    with pytest.raises(
        CommandFailed, match="namespace local is reserved for manifests of the host itself"
    ):
        control_plane.apply(item)  # as the administrator
    control_plane.apply(tambourine("svc", control_plane.namespace, unit=sleeper()))


@pytest.mark.parametrize("crd", CRDS)
def test_our_crds_are_deleted_on_purpose_alone(control_plane: Cluster, crd: str) -> None:
    name = f"{crd}.tambourine.dev"
    dry = ("delete", "crd", name, "--dry-run=server")
    said = control_plane.kubectl(*dry, check=False).stderr
    assert f"kubectl annotate crd {name} tambourine.dev/allow-deletion=true" in said
    control_plane.kubectl("annotate", "crd", name, f"{model.ALLOW_DELETION}=false", "--overwrite")
    assert "deletes all its objects" in control_plane.kubectl(*dry, check=False).stderr
    control_plane.kubectl("annotate", "crd", name, f"{model.ALLOW_DELETION}=true", "--overwrite")
    allowed = control_plane.kubectl(*dry, check=False)
    control_plane.kubectl("annotate", "crd", name, f"{model.ALLOW_DELETION}-")
    assert allowed.returncode == 0, allowed.stderr


def test_nor_all_at_once_and_others_are(control_plane: Cluster) -> None:
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions?dryRun=All"
    with pytest.raises(Forbidden, match="deletes all its objects"):
        control_plane.api._object("DELETE", path, "all CRDs")
    schema = {"openAPIV3Schema": {"type": "object"}}
    version = {"name": "v1", "served": True, "storage": True, "schema": schema}
    other = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "others.example.org"},
        "spec": {
            "group": "example.org",
            "scope": "Cluster",
            "names": {"plural": "others", "kind": "Other"},
            "versions": [version],
        },
    }
    control_plane.apply(other)
    control_plane.kubectl("delete", "crd", "others.example.org")


def test_our_roles_for_people_are_aggregated_into_nothing(control_plane: Cluster) -> None:
    for name in ("tambourine-view", "tambourine-edit"):
        metadata = control_plane.get("clusterrole", name)["metadata"]
        assert not [label for label in metadata["labels"] if "aggregate" in label]
    words = control_plane.get("clusterrole", "tambourine-edit")["metadata"]["annotations"]
    assert "IS ROOT on every node" in words["kubernetes.io/description"]
    for name in ("view", "edit", "admin"):
        assert "tambourine.dev" not in json.dumps(control_plane.get("clusterrole", name))


def test_what_people_may(control_plane: Cluster, namespace: str) -> None:
    for role in ("view", "edit"):
        argv = ("rolebinding", role, f"--clusterrole=tambourine-{role}", f"--user={role}er")
        control_plane.kubectl("create", *argv, "-n", namespace)

    def may(who: str, verb: str, what: str) -> bool:
        argv = ("auth", "can-i", verb, f"{what}.tambourine.dev", "-n", namespace, f"--as={who}")
        return control_plane.kubectl(*argv, check=False).stdout == "yes\n"

    control_plane.wait(lambda: may("editer", "create", "tambourines"), "the bindings")
    control_plane.wait(lambda: may("viewer", "get", "tambourineinstances"), "the bindings")
    assert not may("viewer", "create", "tambourines")
    assert not may("editer", "patch", "tambourineinstances")
    assert not may("editer", "create", "tambourinerevisions")
    assert not may("editer", "patch", "tambourinenodes")
    assert not may("editer", "anynode", "tambourinenodes")


@pytest.mark.parametrize("name", TEMPLATED)
def test_pods_are_restricted_but_for_the_hosts_directories(
    control_plane: Cluster, namespace: str, tmp_path: Path, name: str
) -> None:
    """Asked of the API server's own pod security, with the template as it is applied."""
    control_plane.kubectl(
        "label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted"
    )
    for account in TEMPLATED:
        control_plane.kubectl("create", "serviceaccount", account, "-n", namespace)
    template = _template(control_plane, tmp_path, name)
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace},
        "spec": template["spec"],
    }
    said = control_plane.kubectl(
        "create", "--dry-run=server", "-f", "-", input=json.dumps(pod), check=False
    )
    if name == "tambourine-controller":
        assert said.returncode == 0, said.stderr
        return
    complaint = said.stderr.partition('violates PodSecurity "restricted:latest": ')[2].strip()
    volumes = ", ".join(f'"{volume["name"]}"' for volume in template["spec"]["volumes"])
    assert complaint == (
        f'restricted volume types (volumes {volumes} use restricted volume type "hostPath")'
    )


def _template(control_plane: Cluster, tmp_path: Path, name: str) -> Object:
    found = rendered(control_plane, kustomized.write(tmp_path, "anywhere", ["daemonset"]))
    made = next(
        item
        for item in found
        if item["kind"] in {"Deployment", "DaemonSet"} and item["metadata"]["name"] == name
    )
    template: Object = made["spec"]["template"]
    return template


@pytest.mark.parametrize("name", TEMPLATED)
def test_the_pods_arguments_are_the_programs(
    control_plane: Cluster, tmp_path: Path, name: str
) -> None:
    container = _template(control_plane, tmp_path, name)["spec"]["containers"][0]
    values = {"POD_NAMESPACE": "there", "POD_IP": "10.1.2.3", "NODE_NAME": "h1"}
    assert {item["name"] for item in container["env"]} <= values.keys()
    args = [
        re.sub(r"\$\((\w+)\)", lambda found: values[found[1]], word) for word in container["args"]
    ]
    assert args[0] == name.removeprefix("tambourine-")
    context = TEMPLATED[name].make_context(name, args[1:])
    port = container["ports"][0]["containerPort"]
    assert context.params["health_address"] == f"10.1.2.3:{port}"
    if name == "tambourine-controller":
        assert context.params["leader_namespace"] == "there"
    else:
        assert context.params["node_name"] == "h1"
    assert isinstance(context, click.Context)
    assert container["image"] == f"tambourine:{__version__}"
    built = (CHECKOUT / "Containerfile").read_text()
    assert f"--tag {container['image']} ." in built
    assert f'ENTRYPOINT ["{pods.ENTRYPOINT}"]' in built


def test_the_deployment_makes_its_two_pods(movable: Cluster, tmp_path: Path) -> None:
    name = movable.new_namespace()
    kustomized.install(movable, kustomized.write(tmp_path, name))

    def made() -> list[Object]:
        found: list[Object] = movable.get("pods", "-n", name)["items"]
        return found

    movable.wait(lambda: len(made()) == 2, "the ReplicaSet's pods, by the restricted namespace")
    assert (
        movable.get("namespace", name)["metadata"]["labels"]["pod-security.kubernetes.io/enforce"]
        == "restricted"
    )


@contextmanager
def _controller(cluster: Cluster, namespace: str, directory: Path) -> Iterator[tuple[Path, int]]:
    """The program with the rights of its ServiceAccount in `namespace` and no others: (its log, its health port)."""
    token = kustomized.token_of(cluster, model.CONTROLLER, namespace)
    config = kustomized.kubeconfig(cluster, directory, f"controller-{namespace}", token)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = directory / f"controller-{namespace}.log"
    argv = [
        sys.executable, "-m", "tambourinefs.cli.main", "controller", f"--kubeconfig={config}",
        f"--leader-namespace={namespace}", f"--health-address=127.0.0.1:{port}",
    ]  # fmt: skip
    with log.open("wb") as output:
        process = subprocess.Popen(
            argv, stdout=output, stderr=output, cwd=CHECKOUT, env={**os.environ, "PYTHONPATH": str(CHECKOUT)}
        )  # fmt: skip
        try:
            yield log, port
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0, log.read_text()


def _answers(port: int, path: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _metrics(port: int) -> dict[str, float]:
    """What Prometheus would read: names with their labels, and values (text exposition format 0.0.4)."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        lines = answer.read().decode().splitlines()
    values = [line.rpartition(" ") for line in lines if not line.startswith("#")]
    return {name: float(value) for name, _, value in values}


def test_the_controller_works_wherever_it_was_put_with_its_own_rights(
    movable: Cluster, tmp_path: Path
) -> None:
    """From a Tambourine to its assignment, its summary and its end; the node is real but for its host."""
    for namespace in (movable.new_namespace(), movable.new_namespace()):
        kustomized.install(
            movable, kustomized.write(tmp_path / namespace, namespace, ["daemonset"])
        )
        with _controller(movable, namespace, tmp_path) as (log, port):
            _tell_a_story(movable, namespace, tmp_path, port)
            said = log.read_text()
        assert not re.search(r"\b403\b|[Ff]orbidden", said), said
        assert "Traceback" not in said, said
        assert (
            movable.get("lease", model.CONTROLLER, "-n", namespace)["spec"]["leaseTransitions"] == 0
        )


def _tell_a_story(movable: Cluster, namespace: str, directory: Path, port: int) -> None:
    node = fresh_name("node")
    movable.apply({"apiVersion": "v1", "kind": "Node", "metadata": {"name": node}})
    sync, stop = _sync(movable, namespace, node, directory), threading.Event()

    def beat(_: bool) -> float:
        lease.beat(sync, model.LEASE_NAMESPACE, model.lease_name(node), node)
        return model.HEARTBEAT_EVERY

    heart = threading.Thread(
        target=workloop.run, args=(beat, stop), kwargs={"retry": workloop.Backoff(1.0, 10.0)}
    )
    heart.start()
    try:
        _tell(movable, sync, namespace, node, port)
    finally:
        stop.set()
        heart.join()
    movable.kubectl("delete", "node,tmbn", node)
    movable.kubectl("delete", "lease", model.lease_name(node), "-n", model.LEASE_NAMESPACE)


def _tell(movable: Cluster, sync: Api, namespace: str, node: str, port: int) -> None:
    name = fresh_name()
    instance = model.instance_name(name, node)
    movable.wait(lambda: _answers(port, "/healthz") and _answers(port, "/readyz"), "the probes")
    sync.create(
        NODES,
        {
            "apiVersion": "tambourine.dev/v1alpha1",
            "kind": model.NODE_KIND,
            "metadata": {"name": node},
        },
    )
    _speak(sync, NODES, node, "", {"version": "0.1.0", "namespaces": [namespace]})
    movable.apply(tambourine(name, namespace, command="start", unit=sleeper()))
    movable.wait(lambda: len(_assigned(movable, node)) == 1, "the assignment")
    figures = _metrics(port)
    assert figures['tambourine_api_writes_total{verb="create",resource="leases"}'] == 1
    assert figures['tambourine_api_writes_total{verb="create",resource="tambourinerevisions"}'] >= 1
    assert figures['tambourine_objects{kind="Tambourine"}'] >= 1
    assert (
        _assigned(movable, node)[0]["revision"]
        == movable.get("tmbr", "-n", namespace)["items"][0]["metadata"]["name"]
    )
    uid = movable.get("tmb", name, "-n", namespace)["metadata"]["uid"]
    ready = {
        "type": "Ready", "status": "True", "reason": "Ready", "message": "", "observedGeneration": 1,
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }  # fmt: skip
    status = {"uid": uid, "observedGeneration": 1, "activeState": "active", "conditions": [ready]}
    # Made before the assignment: a node never hears of what it has nowhere to report.
    assert movable.get("tmbi", instance, "-n", namespace)["spec"]["nodeName"] == node
    _speak(sync, INSTANCES, instance, namespace, status)
    movable.kubectl(
        "wait", "--for=condition=Ready", f"tmb/{name}", "-n", namespace, "--timeout=60s"
    )
    movable.kubectl("delete", "tmb", name, "-n", namespace, "--wait=false")
    movable.wait(lambda: _assigned(movable, node)[0]["state"] == "absent", "the tombstone")
    entry = _assigned(movable, node)[0]
    done = {"uid": entry["uid"], "generation": entry["generation"], "state": "absent"}
    _speak(sync, NODES, node, "", {"namespaces": [namespace], "acknowledged": [done]})
    # The garbage collector lacks `anynode` and is not ours; the policies let it take what the Tambourine owned.
    movable.kubectl("wait", "--for=delete", "--timeout=60s", "-n", namespace, f"tmb/{name}")
    movable.wait(
        lambda: not any(movable.get(kind, "-n", namespace)["items"] for kind in ("tmbi", "tmbr")),
        "what it owned to go",
    )


def _sync(movable: Cluster, namespace: str, node: str, directory: Path) -> Api:
    """The client of a DaemonSet's pod on that node."""
    bound = ("--bound-object-kind=Node", f"--bound-object-name={node}")
    token = kustomized.token_of(movable, model.SYNC, namespace, *bound)
    return connect(kustomized.kubeconfig(movable, directory, node, token), user_agent="test-sync")


def _speak(sync: Api, resource: Any, name: str, namespace: str, status: Object) -> None:
    metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
    sync.apply(
        resource, {"metadata": metadata, "status": status}, manager=model.SYNC, subresource="status"
    )


def _assigned(movable: Cluster, node: str) -> list[Object]:
    found: list[Object] = movable.get("tmbn", node).get("spec", {}).get("assignments", [])
    return found


def test_the_controllers_rights_end_where_they_are_not_needed(
    movable: Cluster, tmp_path: Path
) -> None:
    namespace = model.NAMESPACE
    config = kustomized.kubeconfig(
        movable, tmp_path, "controller", kustomized.token_of(movable, model.CONTROLLER, namespace)
    )

    def refused(*argv: str) -> str:
        done = movable.kubectl(*argv, check=False, kubeconfig=config)
        assert done.returncode != 0, argv
        return done.stderr

    said = refused("delete", "clusterrolebinding", "cluster-admin", "--dry-run=server")
    assert "must not delete" in said
    movable.kubectl(
        "create", "clusterrolebinding", "tambourine-join-x", "--clusterrole=view", "--user=x"
    )
    said = refused("delete", "clusterrolebinding", "tambourine-join-x")
    assert "ClusterRoleBindings other than those of join tokens" in said
    movable.kubectl("delete", "clusterrolebinding", "tambourine-join-x")
    said = refused("delete", "serviceaccount", model.CONTROLLER, "-n", namespace)
    assert "must not delete" in said
    for argv in (
        ("delete", "serviceaccount", "default", "-n", "default"),
        ("create", "token", model.CONTROLLER, "-n", namespace),
        ("get", "secrets", "-A"),
        ("create", "clusterrolebinding", "mine", "--clusterrole=cluster-admin", "--user=me"),
        ("delete", "crd", "tambourines.tambourine.dev", "--dry-run=server"),
        ("delete", "tmb", "any", "-n", namespace),
    ):
        assert "orbidden" in refused(*argv), argv


def test_it_approves_nobody_but_nodes_and_join_tokens(movable: Cluster, tmp_path: Path) -> None:
    from tests.cluster import stage

    token = kustomized.token_of(movable, model.CONTROLLER, model.NAMESPACE)
    config = kustomized.kubeconfig(movable, tmp_path, "controller", token)
    made = json.loads(
        movable.kubectl("create", "-f", "-", "-o", "json", input=json.dumps(stage.request())).stdout
    )  # by the administrator, for a node's name
    name = made["metadata"]["name"]
    said = movable.kubectl("certificate", "approve", name, check=False, kubeconfig=config).stderr
    assert "must not approve requests" in said
    movable.kubectl("certificate", "deny", name, kubeconfig=config)
    movable.kubectl("delete", "csr", name)
