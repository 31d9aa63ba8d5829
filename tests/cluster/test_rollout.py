"""A change goes from node to node, and stops at the first that fails."""

from __future__ import annotations

import json
from typing import Any

from tambourinefs.model.cluster import REVISIONS_KEPT
from tests.cluster.manifests import counter, fresh_name, tambourine
from tests.cluster.world import Cluster


def _ready(cluster: Cluster, name: str, namespace: str) -> dict[str, Any]:
    status = cluster.get("tmb", name, "-n", namespace).get("status", {})
    found: dict[str, Any] = next(
        (one for one in status.get("conditions", []) if one["type"] == "Ready"), {}
    )
    return found | {"nodes": status.get("nodes"), "generation": status.get("observedGeneration")}


def _descriptions(cluster: Cluster, name: str) -> list[str]:
    argv = ("systemctl", "show", "--property=Description", "--value", f"{name}.service")
    return sorted(host.run(*argv).stdout.strip() for host in cluster.hosts)


def _unit(name: str, description: str, command: str = "exec sleep infinity") -> str:
    return counter(f"/run/{name}", after=command).replace("Counts its starts", description)


def _stopped(cluster: Cluster, name: str, namespace: str, command: str) -> dict[str, Any]:
    """`One` runs on both nodes, then `Two`, whose program is `command`, stops the rollout at the first; its Ready."""
    cluster.apply(tambourine(name, namespace, command="start", unit=_unit(name, "One")))
    cluster.wait(lambda: _ready(cluster, name, namespace)["status"] == "True", "the first")
    broken = _unit(name, "Two", command)
    cluster.apply(tambourine(name, namespace, command="start", unit=broken))
    cluster.wait(lambda: _ready(cluster, name, namespace)["reason"] == "RolloutStopped", "the stop")
    said = _ready(cluster, name, namespace)
    assert _descriptions(cluster, name) == ["One", "Two"]
    return said


def test_a_rollout_stops_at_the_first_node_that_fails_and_a_fix_goes_on(cluster: Cluster) -> None:
    name, namespace = fresh_name("roll"), cluster.allowed_namespace
    said = _stopped(cluster, name, namespace, "exit 7")
    assert "exit code 7" in said["message"]
    assert "1 node keeps the previous version" in said["message"]

    fixed = _unit(name, "Three")
    cluster.apply(tambourine(name, namespace, command="start", unit=fixed))
    cluster.wait(
        lambda: (
            _ready(cluster, name, namespace)["status"] == "True"
            and _ready(cluster, name, namespace)["generation"] == 3
        ),
        "the fix on both",
    )
    assert _descriptions(cluster, name) == ["Three", "Three"]
    cluster.kubectl("delete", "tmb", name, "-n", namespace, "--timeout=30s")


def test_a_service_that_fails_a_moment_after_it_became_active_stops_it_too(
    cluster: Cluster,
) -> None:
    name, namespace = fresh_name("roll"), cluster.allowed_namespace
    assert "exit code 7" in _stopped(cluster, name, namespace, "sleep 0.5; exit 7")["message"]
    cluster.kubectl("delete", "tmb", name, "-n", namespace, "--timeout=30s")


def test_a_paused_rollout_waits(cluster: Cluster) -> None:
    name, namespace = fresh_name("pause"), cluster.allowed_namespace
    cluster.apply(tambourine(name, namespace, command="start", unit=_unit(name, "One")))
    cluster.wait(lambda: _ready(cluster, name, namespace)["status"] == "True", "the first")
    paused = tambourine(
        name, namespace, command="start", unit=_unit(name, "Two"), rollout={"paused": True}
    )
    cluster.apply(paused)
    cluster.wait(lambda: _ready(cluster, name, namespace)["reason"] == "RolloutPaused", "the pause")
    assert _descriptions(cluster, name) == ["One", "One"]
    patch = {"spec": {"rollout": {"paused": False}}}
    cluster.kubectl("patch", "tmb", name, "-n", namespace, "--type=merge", "-p", json.dumps(patch))
    cluster.wait(lambda: _ready(cluster, name, namespace)["status"] == "True", "the second")
    assert _descriptions(cluster, name) == ["Two", "Two"]
    cluster.kubectl("delete", "tmb", name, "-n", namespace, "--timeout=30s")


def test_the_newest_ten_contents_are_kept_beside_the_one_in_use(cluster: Cluster) -> None:
    name, namespace = fresh_name("old"), cluster.allowed_namespace
    cluster.apply(tambourine(name, namespace, state="installed", unit=_unit(name, "One")))
    cluster.wait(lambda: _ready(cluster, name, namespace)["status"] == "True", "the first")

    def revisions() -> dict[str, dict[str, Any]]:
        items = cluster.get("tambourinerevisions", "-n", namespace)["items"]
        return {item["metadata"]["name"]: item for item in items}

    ((current, model),) = revisions().items()
    metadata = model["metadata"]
    made = [
        {
            "apiVersion": model["apiVersion"],
            "kind": model["kind"],
            "metadata": {
                "name": f"{name}-{number}",
                "namespace": namespace,
                "ownerReferences": metadata["ownerReferences"],
            },
            "spec": model["spec"] | {"digest": f"{number:064x}"},
        }
        for number in range(REVISIONS_KEPT + 5)
    ]
    cluster.apply(*made)
    kept = {current} | {f"{name}-{number}" for number in range(5, REVISIONS_KEPT + 5)}
    cluster.wait(lambda: revisions().keys() == kept, "the oldest to go")
    assert _descriptions(cluster, name) == ["One", "One"]
    cluster.kubectl("delete", "tmb", name, "-n", namespace, "--timeout=30s")
