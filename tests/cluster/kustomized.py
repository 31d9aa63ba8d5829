"""A user's kustomization of k8s/, and the rights that it gives."""

from __future__ import annotations

import json
import os
from base64 import b64encode
from collections.abc import Iterable
from pathlib import Path

from tambourinefs.model import cluster as model
from tests.cluster.world import Cluster
from tests.lab.state import CHECKOUT

K8S = CHECKOUT / "k8s"
SYNC_PODS = "app.kubernetes.io/name=tambourine-sync"


def write(directory: Path, namespace: str, components: Iterable[str] = ()) -> Path:
    """A kustomization that takes k8s/ as its base: {namespace, components}; the directory for `-k`."""
    directory.mkdir(parents=True, exist_ok=True)
    base = os.path.relpath(K8S, directory.resolve())
    parts = [f"{base}/components/{name}" for name in components]
    text = {"namespace": namespace, "resources": [base], "components": parts}
    (directory / "kustomization.yaml").write_text(json.dumps(text))
    return directory


def install(cluster: Cluster, directory: Path) -> None:
    """`kubectl apply -k`, over what another installation owns."""
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "-k", str(directory))


def restore(cluster: Cluster) -> None:
    """What the lab began with: k8s/ as it is, without the component daemonset."""
    install(cluster, K8S)
    names = (
        "clusterrolebinding/tambourine-sync",
        "clusterrolebinding/tambourine-sync-nodes",
        "clusterrole/tambourine-sync",
    )
    mine = (f"daemonset/{model.SYNC}", f"serviceaccount/{model.SYNC}", "-n", model.NAMESPACE)
    cluster.kubectl("delete", "--ignore-not-found", *names, *mine)


def token_of(cluster: Cluster, account: str, namespace: str, *options: str) -> str:
    """A token of a service account, as `kubectl create token` gives it."""
    argv = ("create", "token", account, "-n", namespace, *options)
    return cluster.kubectl(*argv).stdout.strip()


def kubeconfig(cluster: Cluster, directory: Path, name: str, token: str) -> Path:
    """One for this token."""
    authority = b64encode((cluster.plane.pki / "ca.crt").read_bytes()).decode()
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {"name": "lab", "cluster": {"server": cluster.plane.server, "certificate-authority-data": authority}}
        ],
        "users": [{"name": name, "user": {"token": token}}],
        "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": name}}],
        "current-context": "lab",
    }  # fmt: skip
    path = directory / f"{name}.kubeconfig"
    path.touch(mode=0o600)
    path.write_text(json.dumps(config))
    return path
