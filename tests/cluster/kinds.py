"""The kinds that tests ask for and apply, by the words that kubectl knows them by."""

from __future__ import annotations

from typing import Any, Final

from tambourinefs.kube import resources as ours
from tambourinefs.kube.resources import Resource

RBAC: Final = ("rbac.authorization.k8s.io", "v1")
ADMISSION: Final = ("admissionregistration.k8s.io", "v1")
KINDS: Final = (
    ours.TAMBOURINES, ours.NODES, ours.INSTANCES, ours.REVISIONS, ours.CORE_NODES, ours.NAMESPACES, ours.LEASES,
    ours.SERVICE_ACCOUNTS, ours.CLUSTER_ROLES, ours.CLUSTER_ROLE_BINDINGS, ours.CSRS, ours.CRDS,
    Resource("", "v1", "configmaps", "ConfigMap", namespaced=True),
    Resource("", "v1", "secrets", "Secret", namespaced=True),
    Resource("", "v1", "pods", "Pod", namespaced=True),
    Resource("apps", "v1", "deployments", "Deployment", namespaced=True),
    Resource("apps", "v1", "daemonsets", "DaemonSet", namespaced=True),
    Resource(*RBAC, "roles", "Role", namespaced=True),
    Resource(*RBAC, "rolebindings", "RoleBinding", namespaced=True),
    Resource(*ADMISSION, "validatingadmissionpolicies", "ValidatingAdmissionPolicy", namespaced=False),
    Resource(*ADMISSION, "validatingadmissionpolicybindings", "ValidatingAdmissionPolicyBinding", namespaced=False),
    ours.EVENTS,
)  # fmt: skip
SHORT: Final = {
    "tmb": ours.TAMBOURINES, "tmbi": ours.INSTANCES, "tmbn": ours.NODES, "tmbr": ours.REVISIONS,
    "csr": ours.CSRS, "crd": ours.CRDS, "sa": ours.SERVICE_ACCOUNTS,
}  # fmt: skip


def by_word(word: str) -> Resource | None:
    """What `kubectl get WORD` means: a short name, the plural, the singular; None for what is not in the table."""
    if word in SHORT:
        return SHORT[word]
    return next((kind for kind in KINDS if word in (kind.plural, kind.kind.lower())), None)


def of_object(item: dict[str, Any]) -> Resource:
    """By apiVersion and kind; KeyError for one that is not in the table."""
    what = item["apiVersion"], item["kind"]
    for kind in KINDS:
        if (kind.api_version, kind.kind) == what:
            return kind
    raise KeyError(f"{what} is not in tests/cluster/kinds.py: add it")
