"""Prepare the lab's cluster: create its Nodes and apply k8s/."""

from __future__ import annotations

import os
import subprocess
from typing import Final

from tests.lab import kubebuild
from tests.lab.controlplane import ControlPlane
from tests.lab.kubeapi import ask
from tests.lab.state import CHECKOUT
from tests.lab.tools import LabError, wait_until

MANIFESTS: Final = CHECKOUT / "k8s"
NAMESPACE: Final = "tambourine-system"
# Of each kubectl: it lives for a moment, so it neither collects garbage nor shares its work out: a fifth less work
BRIEF: Final = {"GOGC": "off", "GOMAXPROCS": "1"}


def prepare(plane: ControlPlane, names: list[str]) -> None:
    """A Node for each host, and Tambourine's own resources; returns when the API server serves them."""
    for name in names:
        add_node(plane, name)
    apply_manifests(plane)


def add_node(plane: ControlPlane, name: str) -> None:
    """A ready Node, as the kubelet of a host registers and reports it."""
    metadata = {
        "name": name,
        "labels": {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux"},
    }
    ask(plane.server, plane.pki, "POST", "/api/v1/nodes", {"metadata": metadata})
    ready = {
        "type": "Ready", "status": "True", "reason": "KubeletReady", "message": "the lab says so",
    }  # fmt: skip
    ask(
        plane.server,
        plane.pki,
        "PATCH",
        f"/api/v1/nodes/{name}/status",
        {"status": {"conditions": [ready]}},
    )
    # Admission taints every new Node; in a whole cluster the node lifecycle controller takes that back.
    ask(plane.server, plane.pki, "PATCH", f"/api/v1/nodes/{name}", {"spec": {"taints": None}})


def apply_manifests(plane: ControlPlane) -> None:
    """`kubectl apply` of k8s/, as a user does it."""
    kubectl(plane, "apply", "--server-side", "-k", str(MANIFESTS))
    wait_until(lambda: _established(plane), 20, "the API server to serve Tambourine's resources")


def _established(plane: ControlPlane) -> bool:
    found = ask(
        plane.server, plane.pki, "GET", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    )
    return all(
        any(
            condition["type"] == "Established" and condition["status"] == "True"
            for condition in item.get("status", {}).get("conditions", ())
        )
        for item in found["items"]
    )


def kubectl(plane: ControlPlane, *argv: str, stdin: str = "") -> str:
    """What it prints; LabError with what it complains about when it fails."""
    done = subprocess.run(
        [kubebuild.programs() / "kubectl", *argv],
        input=stdin,
        capture_output=True,
        text=True,
        env={**os.environ, **BRIEF, "KUBECONFIG": str(plane.kubeconfig)},
    )
    if done.returncode != 0:
        raise LabError(f"kubectl {' '.join(argv)}: {done.stderr.strip()}")
    return done.stdout
