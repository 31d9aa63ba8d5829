"""The lab's control plane is a real one, does as it is told, and leaves nothing."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.world import Cluster
from tests.e2e.test_lab import LAB, lab_command, traces
from tests.lab import kubenet
from tests.lab.controlplane import ControlPlane
from tests.lab.state import LabState


def data(cluster: Cluster, name: str) -> str:
    return str(cluster.get("configmap", name, "-n", "default")["data"]["is"])


def put(cluster: Cluster, name: str, value: str) -> None:
    cluster.apply(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "default"}, "data": {"is": value}}
    )  # fmt: skip


def test_it_authorizes_and_admits(control_plane: Cluster) -> None:
    namespace = control_plane.namespace
    control_plane.kubectl("create", "serviceaccount", "other", "-n", namespace)
    other = f"--as=system:serviceaccount:{namespace}:other"
    refused = control_plane.kubectl("get", "secrets", "-n", namespace, other, check=False)
    assert "forbidden" in refused.stderr
    control_plane.kubectl(
        "label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted"
    )
    argv = ("run", "p", "--image=none", "--privileged", "-n", namespace)
    control_plane.wait(
        # "default" of a new namespace is a moment away; until then that is the complaint
        lambda: "violates PodSecurity" in control_plane.kubectl(*argv, check=False).stderr,
        "pod security to refuse a privileged pod",
    )


def test_its_controllers_collect_garbage_and_empty_namespaces(control_plane: Cluster) -> None:
    namespace = control_plane.new_namespace()
    control_plane.kubectl("create", "configmap", "owner", "-n", namespace)
    owner = control_plane.get("configmap", "owner", "-n", namespace)["metadata"]
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["uid"]}
    metadata = {"name": "owned", "namespace": namespace, "ownerReferences": [reference]}
    control_plane.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})
    control_plane.kubectl("delete", "configmap", "owner", "-n", namespace)
    gone = ("wait", "--for=delete", "--timeout=30s")
    control_plane.kubectl(*gone, "configmap/owned", "-n", namespace)
    control_plane.kubectl("delete", "namespace", namespace, "--wait=false")
    control_plane.kubectl(*gone, f"namespace/{namespace}")


def test_it_signs_an_approved_request(control_plane: Cluster, tmp_path: Path) -> None:
    request = tmp_path / "csr"
    subprocess.run(
        ["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
         "-subj", "/CN=other", "-keyout", str(tmp_path / "key"), "-out", str(request)],
        check=True, capture_output=True,
    )  # fmt: skip
    name = f"other-{os.getpid()}"
    spec = {
        "request": base64.b64encode(request.read_bytes()).decode(),
        "signerName": "kubernetes.io/kube-apiserver-client",
        "usages": ["client auth"],
    }
    kind = {"apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest"}
    control_plane.apply({**kind, "metadata": {"name": name}, "spec": spec})
    control_plane.kubectl("certificate", "approve", name)
    control_plane.wait(
        lambda: control_plane.get("csr", name)["status"]["certificate"], "the certificate"
    )
    control_plane.kubectl("delete", "csr", name)


def test_the_api_server_stops_and_starts(control_plane: Cluster) -> None:
    put(control_plane, "kept", "1")
    control_plane.stop_api()
    refused = control_plane.kubectl("get", "nodes", check=False)
    assert refused.returncode == 1
    assert "refused" in refused.stderr
    control_plane.start_api()
    assert data(control_plane, "kept") == "1"


@pytest.fixture
def lab_name() -> Iterator[str]:
    name = f"k{os.getpid()}"
    yield name
    lab_command(name, "down")


def cables() -> set[str]:
    """This machine's ends of all labs' cables, by the numbers that the kernel gives once."""
    found = set()
    for path in Path("/sys/class/net").glob("tl[0-9]*/ifindex"):
        with contextlib.suppress(OSError):  # of another lab, which goes down at this moment
            found.add(path.read_text().strip())
    return found


def cable_of(lab_name: str) -> str:
    subnet = ControlPlane(LabState(lab_name)).subnet
    return Path("/sys/class/net", kubenet.cable(subnet), "ifindex").read_text().strip()


def test_the_command_and_that_nothing_is_left(lab_name: str, tmp_path: Path) -> None:
    done = lab_command(lab_name, "kubectl", "get", "nodes")
    assert (done.returncode, done.stderr) == (
        1,
        f"lab: lab {lab_name} has no control plane: `lab up --kubernetes`\n",
    )
    done = lab_command(lab_name, "up", "--bare", "--hosts", "2", "--kubernetes")
    assert done.returncode == 0, done.stderr
    shown = lab_command(lab_name, "kubectl", "get", "nodes", "--no-headers").stdout
    assert [line.split()[:2] for line in shown.splitlines()] == [["h1", "Ready"], ["h2", "Ready"]]
    body = json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "from-stdin"}})
    argv = [str(LAB), "--name", lab_name, "kubectl", "create", "-f", "-"]
    assert subprocess.run(argv, input=body.encode(), capture_output=True).returncode == 0
    assert subprocess.run(argv, input=body.encode(), capture_output=True).returncode == 1
    environment = lab_command(lab_name, "env").stdout
    shell = subprocess.run(
        ["sh", "-c", f"{environment}\nkubectl get configmap from-stdin -o name"],
        capture_output=True, text=True,
    )  # fmt: skip
    assert shell.stdout == "configmap/from-stdin\n"
    _another_cluster_and_an_older_state(lab_name, str(tmp_path / "etcd.tar"))
    assert lab_command(lab_name, "reboot", "h2").returncode == 0
    server = environment_server(lab_name)
    for host in ("h1", "h2"):
        assert (
            lab_command(lab_name, "exec", host, "curl", "-sk", "-m", "10", server).returncode == 0
        )
    assert lab_command(lab_name, "api", "stop").returncode == 0
    assert "off: kube-apiserver" in lab_command(lab_name, "status").stdout
    cable = cable_of(lab_name)
    assert cable in cables()
    assert lab_command(lab_name, "down").returncode == 0
    assert traces(lab_name) == []
    assert cable not in cables()


def _another_cluster_and_an_older_state(lab_name: str, snapshot: str) -> None:
    """The older state is that of the same cluster (kube-system keeps its UID), with complete, older lists."""
    plane = Cluster(LabState(lab_name), [])

    def uid() -> str:
        return str(plane.get("namespace", "kube-system")["metadata"]["uid"])

    def is_there(name: str) -> bool:
        return plane.is_there("configmap", name, "-n", "default")

    put(plane, "value", "old")
    before = uid()
    assert lab_command(lab_name, "api", "snapshot", snapshot).returncode == 0
    put(plane, "value", "new")
    put(plane, "other", "new")
    assert lab_command(lab_name, "api", "replace").returncode == 0
    assert uid() != before
    assert not is_there("value")
    assert lab_command(lab_name, "api", "restore", snapshot).returncode == 0
    assert uid() == before
    assert data(plane, "value") == "old"
    assert is_there("from-stdin")
    assert not is_there("other")


def environment_server(name: str) -> str:
    argv = ("kubectl", "config", "view", "-o", "jsonpath={.clusters[0].cluster.server}")
    return lab_command(name, *argv).stdout


def test_a_control_plane_goes_down_with_its_owner(lab_name: str) -> None:
    with subprocess.Popen(["sleep", "infinity"]) as owner:
        argv = ("up", "--hosts", "0", "--kubernetes", "--owner", str(owner.pid))
        done = lab_command(lab_name, *argv)
        assert done.returncode == 0, done.stderr
        assert traces(lab_name)
        owner.kill()
    Cluster.wait(lambda: not traces(lab_name), "the watcher to take it down")
