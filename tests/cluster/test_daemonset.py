"""sync as the DaemonSet's pod: with the template's user, mounts and arguments, and a token bound to that pod."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tambourinefs.kube.resources import Resource
from tambourinefs.model import cluster as model
from tests.cluster import kustomized, pods
from tests.cluster.manifests import fresh_name, sleeper, tambourine
from tests.cluster.world import Cluster
from tests.lab.hosts import Host

Object = dict[str, Any]
PODS = Resource("", "v1", "pods", "Pod", namespaced=True)
UNIT = "test-pod.service"


@pytest.fixture
def pod_host(cluster: Cluster, tmp_path: Path) -> Iterator[Host]:
    """h1, on which the DaemonSet's pod is ready to be started as UNIT; afterwards its own sync runs again."""
    host = cluster.host("h1")
    where = kustomized.write(tmp_path, model.NAMESPACE, ["daemonset"])
    try:
        kustomized.install(cluster, where)
        pod = _pod_of(cluster, "h1")
        bound = ("--bound-object-kind=Pod", f"--bound-object-name={pod['metadata']['name']}")
        token = kustomized.token_of(cluster, model.SYNC, model.NAMESPACE, *bound)
        values = {"NODE_NAME": "h1", "POD_IP": "127.0.0.1"}
        pods.prepare(cluster, host, pod, values, token)
        yield host
    finally:
        host.run("systemctl", "stop", UNIT, check=False)
        host.run("runc", "delete", "--force", "test-pod", check=False)
        host.run("systemctl", "reset-failed", "tambourine-sync", UNIT, check=False)
        pods.remove(host)
        host.run("systemctl", "start", "tambourine-sync")
        kustomized.restore(cluster)
        # Without a kubelet nothing stops a pod.
        force = ("--force", "--grace-period=0", "-n", model.NAMESPACE)
        cluster.kubectl("delete", "pods", "-l", kustomized.SYNC_PODS, *force)


def _pod_of(cluster: Cluster, node: str) -> Object:
    """The pod that the DaemonSet made for that node, bound to it as a scheduler does."""

    def mine() -> list[Object]:
        found = cluster.get("pods", "-n", model.NAMESPACE, "-l", kustomized.SYNC_PODS)["items"]
        alive = [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]
        return [pod for pod in alive if f'"{node}"' in _affinity(pod)]

    cluster.wait(mine, f"the DaemonSet's pod for {node}")
    (pod,) = mine()
    name = pod["metadata"]["name"]
    target = {"apiVersion": "v1", "kind": "Node", "name": node}
    body = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name}, "target": target}
    path = PODS.path(model.NAMESPACE, name, "binding")
    cluster.api._object("POST", path, "binding", body, "application/json")
    return cluster.get("pod", name, "-n", model.NAMESPACE)


def _affinity(pod: Object) -> str:
    return json.dumps(pod["spec"].get("affinity", {}))


def _start(host: Host) -> None:
    # nspawn takes keyctl(2) away.
    argv = ("runc", "run", "--no-new-keyring", "--bundle", pods.DIRECTORY, "test-pod")
    host.run("systemd-run", f"--unit={UNIT}", "--property=KillMode=mixed", *argv)


def _said(host: Host, unit: str, since: float) -> str:
    argv = ("journalctl", "--no-pager", "--output=cat", f"--since=@{since:.3f}")
    return host.run(*argv, f"--unit={unit}").stdout


def test_the_pod_is_the_nodes_sync_and_there_is_one_sync_a_node(
    cluster: Cluster, pod_host: Host
) -> None:
    since = time.time()
    _start(pod_host)
    refusal = "another sync runs on this node"
    cluster.wait(
        lambda: refusal in _said(pod_host, UNIT, since),
        "the pod to be refused beside the host's own sync",
    )

    pod_host.run("systemctl", "stop", "tambourine-sync")
    before = _renewed(cluster)
    pod_host.run("systemctl", "reset-failed", UNIT, check=False)
    pod_host.run("runc", "delete", "--force", "test-pod", check=False)
    _start(pod_host)

    def succeeds(*argv: str) -> bool:
        return pod_host.run(*argv, check=False).returncode == 0

    for path in ("healthz", "readyz"):
        probe = ("curl", "--silent", "--fail", f"http://127.0.0.1:9441/{path}")
        cluster.wait(partial(succeeds, *probe), path)

    name, namespace = fresh_name(), cluster.allowed_namespace
    cluster.apply(
        tambourine(name, namespace, command="start", nodeName="h1", unit=sleeper("By a pod"))
    )
    cluster.kubectl(
        "wait", "--for=condition=Ready", f"tmb/{name}", "-n", namespace, "--timeout=30s"
    )
    assert pod_host.run("systemctl", "is-active", name).stdout == "active\n"
    cluster.wait(lambda: _renewed(cluster) != before, "the pod to renew the node's Lease")
    figures = pod_host.run("curl", "--silent", "--fail", "http://127.0.0.1:9441/metrics").stdout
    told = re.search(
        r'^tambourine_api_writes_total[{]verb="patch",resource="leases"[}] (\d+)$',
        figures,
        re.MULTILINE,
    )
    assert told, figures
    assert int(told[1]) >= 1

    pod_host.run("systemctl", "start", "tambourine-sync", "--no-block")
    cluster.wait(
        lambda: refusal in _said(pod_host, "tambourine-sync", since),
        "the host's own to be refused beside the pod",
    )
    pod_host.run("systemctl", "stop", "tambourine-sync")
    cluster.kubectl("delete", "tmb", name, "-n", namespace, "--timeout=30s")
    assert pod_host.run("systemctl", "is-active", name, check=False).stdout == "inactive\n"


def _renewed(cluster: Cluster) -> str:
    lease = cluster.get("lease", model.lease_name("h1"), "-n", model.LEASE_NAMESPACE)
    return str(lease["spec"]["renewTime"])
