"""`kubectl tambourine uninstall`: nothing is left in the cluster, and no host keeps a service without an owner."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.manifests import sleeper, tambourine
from tests.cluster.member import Member
from tests.cluster.plugin import Plugin
from tests.cluster.world import Cluster
from tests.lab import kubecontroller

KINDS = (
    "crd,clusterrole,clusterrolebinding,namespace,validatingadmissionpolicy,"
    "validatingadmissionpolicybinding"
)  # fmt: skip


@pytest.fixture
def installed(doomed_control_plane: Cluster) -> Iterator[Cluster]:
    """One control plane for the module: what a test uninstalled is there again for the next, without the node `n1`."""
    cluster = Cluster(doomed_control_plane.state, [])
    if not cluster.is_there("namespace", "tambourine-system"):
        cluster.apply_manifests()
    yield cluster
    cluster.kubectl("delete", "namespace", "tambourine-system", "--ignore-not-found")
    cluster.kubectl("delete", "node", "n1", "--ignore-not-found")
    cluster.remove_namespaces()


@pytest.fixture
def plugin(installed: Cluster, tmp_path: Path) -> Plugin:
    return Plugin(installed, tmp_path)


@pytest.fixture
def controller(installed: Cluster) -> Iterator[None]:
    """The real one; it goes with the Deployment, as a pod would."""
    kubecontroller.start(installed.plane)
    yield
    if installed.plane.runs(kubecontroller.name_of(1)):
        kubecontroller.end(installed.plane)


def _ours(cluster: Cluster) -> list[str]:
    """What of Tambourine is left, wherever."""
    everything = [
        *cluster.kubectl("get", KINDS, "-o", "name").stdout.split(),
        *cluster.kubectl(
            "get", "deployment,poddisruptionbudget,role,rolebinding,serviceaccount,lease", "-A",
            "--no-headers", "-o", "custom-columns=KIND:.kind,NAMESPACE:.metadata.namespace,NAME:.metadata.name",
        ).stdout.splitlines(),
    ]  # fmt: skip
    return [line for line in everything if "tambourine" in line]


def _finish(running: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = running.communicate(timeout=300)
    return running.returncode, out, err


def test_services_first_then_all_the_rest_and_again_without_harm(
    installed: Cluster, plugin: Plugin, controller: None
) -> None:
    node = Member(installed, "n1", "*")
    namespaces = [installed.namespace, installed.new_namespace()]
    for namespace in namespaces:
        installed.apply(tambourine("web", namespace, command="start", unit=sleeper()))
    installed.wait(lambda: len(node.assignments) == 2, "both to be assigned")
    before = _ours(installed)

    look = plugin("uninstall", "--dry-run", namespace="")
    assert look.returncode == 0
    assert "2 Tambourines in 2 namespaces" in look.stdout
    assert "THEIR SERVICES ARE STOPPED AND UNINSTALLED on up to 1 node" in look.stdout
    unasked = plugin("uninstall", namespace="")
    assert unasked.returncode == 2
    assert "--yes" in unasked.stderr
    assert _ours(installed) == before
    assert not node.tombstones

    running = plugin.popen("uninstall", "--yes")
    installed.wait(lambda: len(node.tombstones) == 2, "the node to be told")
    assert {item["state"] for item in node.tombstones} == {"absent"}
    # Until the host has removed its services, nothing else goes.
    assert running.poll() is None
    installed.kubectl("get", "deployment", "-n", "tambourine-system", "tambourine-controller")
    node.acknowledge()
    code, out, err = _finish(running)
    assert code == 0, err
    gone = [line.partition(": ")[2] for line in out.splitlines() if line.startswith("removed: ")]
    assert gone == [
        "Tambourines, in all namespaces",
        "the controller, and sync if it is a DaemonSet",
        "admission policies",
        "custom resource definitions, with all their objects",
        "roles and accounts",
        "its namespace, if nothing else is in it",
    ]
    assert "systemctl disable --now tambourine-sync.service" in out
    kubecontroller.end(installed.plane)  # what a kubelet does when the Deployment is gone
    left = [line for line in _ours(installed) if "lease" not in line.lower()]
    assert left == []
    assert installed.kubectl("get", "namespace", *namespaces).returncode == 0

    again = plugin("uninstall", "--yes", namespace="")
    assert again.returncode == 0
    assert "Tambourine is not installed in this cluster." in again.stdout
    assert plugin("status", "web").returncode == 1
    assert "Tambourine is not installed in this cluster" in plugin("nodes", namespace="").stderr


def test_with_keep_services_hosts_are_told_to_let_go_and_not_to_remove(
    installed: Cluster, plugin: Plugin, controller: None
) -> None:
    node = Member(installed, "n1", "*")
    installed.apply(tambourine("web", installed.namespace, command="start", unit=sleeper()))
    installed.wait(lambda: len(node.assignments) == 1, "it to be assigned")
    installed.kubectl("create", "configmap", "of-another", "-n", "tambourine-system")
    running = plugin.popen("uninstall", "--yes", "--keep-services")
    installed.wait(lambda: len(node.tombstones) == 1, "the node to be told")
    assert [item["state"] for item in node.tombstones] == ["released"]
    node.acknowledge()
    code, out, err = _finish(running)
    assert code == 0, err
    assert "their services keep running on the hosts, no longer managed" in out
    # Something else is in the namespace: it stays, without Tambourine's objects.
    installed.kubectl("get", "configmap", "of-another", "-n", "tambourine-system")
    kubecontroller.end(installed.plane)
    assert "kept: namespace tambourine-system, which also contains ConfigMap of-another" in out
    left = [line.split() for line in _ours(installed) if "lease" not in line.lower()]
    default = ["ServiceAccount", "tambourine-system", "default"]  # the cluster's own, everywhere
    assert left == [["namespace/tambourine-system"], default]


def test_without_a_controller_it_stops_before_anything_is_lost_and_goes_on_later(
    installed: Cluster, plugin: Plugin
) -> None:
    kubecontroller.start(installed.plane)
    node = Member(installed, "n1", "*")
    installed.apply(tambourine("web", installed.namespace, command="start", unit=sleeper()))
    installed.wait(lambda: len(node.assignments) == 1, "it to be assigned")
    kubecontroller.end(installed.plane)
    installed.kubectl("delete", "lease", "-n", "tambourine-system", "tambourine-controller")
    done = plugin("uninstall", "--yes", namespace="")
    assert done.returncode == 1
    assert "error: the controller does not run" in done.stderr
    item = installed.get("tmb", "web", "-n", installed.namespace)
    assert "deletionTimestamp" not in item["metadata"]
    assert len(installed.get("crd")["items"]) == 4

    kubecontroller.start(installed.plane)
    lease = ("lease", "tambourine-controller", "-n", "tambourine-system")
    installed.wait(lambda: installed.is_there(*lease), "a controller that leads")
    running = plugin.popen("uninstall", "--yes")
    installed.wait(lambda: len(node.tombstones) == 1, "the node to be told")
    running.kill()  # interrupted half way
    running.communicate()
    node.acknowledge()
    again = plugin("uninstall", "--yes", namespace="")
    assert again.returncode == 0, again.stderr
    assert installed.get("crd")["items"] == []
    kubecontroller.end(installed.plane)


def test_a_node_that_never_let_go_stops_it_until_it_is_abandoned(
    installed: Cluster, plugin: Plugin
) -> None:
    """As after the controller's deadline for a host that is off: the Tambourine is gone, its tombstone is not."""
    node = Member(installed, "n1", "*")
    entry = {"uid": "u-1", "namespace": "web", "name": "web", "generation": 2, "state": "absent"}
    patch = json.dumps({"spec": {"assignments": [entry]}})
    installed.kubectl("patch", "tmbn", node.name, "--type=merge", "-p", patch)
    stopped = plugin("uninstall", "--yes", namespace="")
    assert stopped.returncode == 1
    assert "error: n1: removal of services not acknowledged" in stopped.stderr
    assert len(installed.get("crd")["items"]) == 4
    assert installed.get("deployment", "-n", "tambourine-system")["items"]
    gone = plugin("uninstall", "--yes", "--abandon-nodes", namespace="")
    assert gone.returncode == 0, gone.stderr
    assert installed.get("crd")["items"] == []
