"""Two nodes, a service on each, and what else stands about in a cluster: what identities are tried on."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from tambourinefs.cli.plugin import join
from tambourinefs.kube import csr
from tambourinefs.kube import resources as kinds
from tambourinefs.model import cluster as model
from tests.cluster import callers, kustomized, rights
from tests.cluster.callers import Caller
from tests.cluster.manifests import sleeper, tambourine
from tests.cluster.rights import Row
from tests.cluster.world import Cluster

NODE, OTHER = "node-a", "node-b"
SERVICE = "svc"
CRD = "tambourines.tambourine.dev"
DIGEST = "0" * 64
RBAC = "rbac.authorization.k8s.io/v1"
ADMISSION = "admissionregistration.k8s.io/v1"
CHANGES = ("update", "patch", "apply")
COLLECTION = ("list", "watch", "deletecollection")
Object = dict[str, Any]


@dataclass
class Stage:
    """One installation and what was put on the stage of its namespace."""

    cluster: Cluster
    namespace: str
    instances: dict[str, Object]
    request: str

    @cached_property
    def callers(self) -> list[Caller]:
        """The identities of node-a, and two that are no node's."""
        bound = ("--bound-object-kind=Node", f"--bound-object-name={NODE}")
        return [
            callers.node_by_certificate(self.cluster, NODE),
            self.by_token("node-bound token", model.SYNC, *bound),
            self.by_token("token bound to no node", model.SYNC),
            self.by_token("join token", model.join_account(NODE)),
        ]

    def by_token(self, name: str, account: str, *options: str) -> Caller:
        token = kustomized.token_of(self.cluster, account, self.namespace, *options)
        return callers.by_token(self.cluster, name, token)

    def instance(self, node: str) -> str:
        return model.instance_name(SERVICE, node)


def build(cluster: Cluster, namespace: str) -> Stage:
    """Make it all, as the administrator; what is there stays. `namespace`: where Tambourine is installed."""
    for node in (NODE, OTHER):
        join._grant(cluster.api, node)
    join._token(cluster.api, NODE, namespace)
    cluster.apply(*_objects(namespace))
    instances = {
        node: cluster.api.get(kinds.INSTANCES, model.instance_name(SERVICE, node), namespace)
        for node in (NODE, OTHER)
    }
    cluster.apply(*_events(namespace, instances))
    made = cluster.api.create(kinds.CSRS, request())
    return Stage(cluster, namespace, instances, made["metadata"]["name"])


def clear(cluster: Cluster, namespaces: Iterable[str]) -> None:
    """Take away what `build` made. Of our own namespace the content alone goes."""
    made = _objects(model.NAMESPACE)
    for namespace in namespaces:
        if namespace != model.NAMESPACE:
            made.append(_object("v1", "Namespace", namespace))
    unknown = {"metadata": {"name": "", "uid": ""}}
    made += _events(model.NAMESPACE, dict.fromkeys((NODE, OTHER), unknown))
    account = model.join_account(NODE)
    made.append(_object("v1", "ServiceAccount", account, model.NAMESPACE))
    users = {f"{model.NODE_USER_PREFIX}{node}" for node in (NODE, OTHER)}
    made += [_object(RBAC, "ClusterRole", name) for name in users]
    made += [_object(RBAC, "ClusterRoleBinding", name) for name in (*users, account)]
    body = json.dumps({"apiVersion": "v1", "kind": "List", "items": made})
    cluster.kubectl("delete", "--ignore-not-found", "--wait=false", "-f", "-", input=body)


def _objects(namespace: str) -> list[Object]:
    """What does not depend on what the API server made of another."""
    content = {"name": SERVICE, "unit": sleeper()}
    spec = {"tambourine": SERVICE, "digest": DIGEST, "content": content}
    name = model.revision_name(SERVICE, DIGEST)
    made = [
        tambourine(SERVICE, namespace, unit=sleeper()),
        _ours(model.REVISION_KIND, name, namespace, spec=spec),
        rights.lease("nobody", model.CONTROLLER, namespace),
        rights.lease("nobody", model.lease_name(NODE), namespace),
        _object("v1", "Secret", "secret", namespace),
        _object("v1", "ConfigMap", "map", namespace),
        rights.lease(NODE, NODE, model.LEASE_NAMESPACE),
    ]
    for node in (NODE, OTHER):
        name = model.instance_name(SERVICE, node)
        spec = {"nodeName": node, "tambourine": SERVICE, "unit": f"{SERVICE}.service"}
        made += [
            _object("v1", "Node", node),
            _ours(model.NODE_KIND, node),
            _ours(model.INSTANCE_KIND, name, namespace, spec=spec),
            rights.lease(node, model.lease_name(node), model.LEASE_NAMESPACE),
        ]
    return made


def _events(namespace: str, instances: dict[str, Object]) -> list[Object]:
    return [
        rights.event(node, namespace, instance, f"said-by-{node}")
        for node, instance in instances.items()
    ]


def request(signer: str = csr.SIGNER) -> Object:
    """A node's request for a certificate."""
    made = csr._object(NODE, ec.generate_private_key(ec.SECP256R1()), csr.LIFETIME)
    made["spec"]["signerName"] = signer
    return {"apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest", **made}


def _object(version: str, kind: str, name: str, namespace: str = "", **rest: Any) -> Object:
    metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **rest}


def _ours(kind: str, name: str, namespace: str = "", **rest: Any) -> Object:
    return _object("tambourine.dev/v1alpha1", kind, name, namespace, **rest)


def rows(stage: Stage) -> list[Row]:
    """What is tried, in the order of the table."""
    ns = stage.namespace
    status = {"status": {"active": "active"}}
    version = {"status": {"version": "1"}}
    token = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    whose = {"its": NODE, "another's": OTHER}
    found = []
    for who, node in whose.items():
        new = _ours(model.NODE_KIND, node)
        found += [
            Row(f"{who} TambourineNode", kinds.NODES, node, new=new),
            Row(f"{who} TambourineNode/status", kinds.NODES, node, subresource="status", patch=version),
            Row(f"{who} TambourineNode: finalizers", kinds.NODES, node, patch=_finalizer(), verbs=CHANGES),
        ]  # fmt: skip
    found.append(Row("all TambourineNodes", kinds.NODES, NODE, one=False, verbs=COLLECTION))
    for who, node in whose.items():
        name = stage.instance(node)
        spec = {"nodeName": node, "tambourine": "x", "unit": "x.service"}
        new = _ours(model.INSTANCE_KIND, f"x.{node}", ns, spec=spec)
        found += [
            Row(f"{who} TambourineInstance", kinds.INSTANCES, name, ns, new=new),
            Row(f"{who} TambourineInstance/status", kinds.INSTANCES, name, ns, "status", patch=status),
            Row(f"{who} TambourineInstance: finalizers", kinds.INSTANCES, name, ns, patch=_finalizer(), verbs=CHANGES),
        ]  # fmt: skip
    digest = "1" * 64
    content: Object = {"tambourine": "x", "digest": digest, "content": {"name": "x"}}
    new = _ours(model.REVISION_KIND, model.revision_name("x", digest), ns, spec=content)
    revision = model.revision_name(SERVICE, DIGEST)
    found += [
        Row("a TambourineRevision, by its name", kinds.REVISIONS, revision, ns, new=new),
        Row("a Tambourine", kinds.TAMBOURINES, SERVICE, ns, new=tambourine("x", ns)),
        Row("a Tambourine/status", kinds.TAMBOURINES, SERVICE, ns, "status", patch=status),
        Row(
            "a Tambourine: finalizers",
            kinds.TAMBOURINES,
            SERVICE,
            ns,
            patch=_finalizer(),
            verbs=CHANGES,
        ),
    ]
    for label, name, where in (
        ("its Lease in kube-node-lease", model.lease_name(NODE), model.LEASE_NAMESPACE),
        ("another's Lease there", model.lease_name(OTHER), model.LEASE_NAMESPACE),
        ("its kubelet's Lease there", NODE, model.LEASE_NAMESPACE),
        ("the leader's Lease", model.CONTROLLER, ns),
        ("a Lease of its name elsewhere", model.lease_name(NODE), ns),
    ):
        renewed = {"spec": {"holderIdentity": NODE}}
        new = rights.lease(NODE, name, where)
        found.append(Row(label, kinds.LEASES, name, where, new=new, patch=renewed))
    series = {"series": {"count": 2, "lastObservedTime": "2026-01-01T00:00:00.000000Z"}}
    for label, node in (("an event on its instance", NODE), ("… on another's", OTHER)):
        new = rights.event(NODE, ns, stage.instances[node], "x")
        found.append(Row(label, kinds.EVENTS, f"said-by-{node}", ns, new=new, patch=series))
    found += [
        Row(
            "the same in the core group",
            rights.CORE_EVENTS,
            f"said-by-{NODE}",
            ns,
            new=_core_event(ns),
        ),
        Row("a certificate request", kinds.CSRS, stage.request, new=request()),
        Row("… its approval", kinds.CSRS, stage.request, subresource="approval"),
        Row("… its status", kinds.CSRS, stage.request, subresource="status"),
        Row("the CRDs", kinds.CRDS, CRD, new=_crd()),
        Row("its core Node", kinds.CORE_NODES, NODE, new=_object("v1", "Node", "x")),
        Row("its core Node/status", kinds.CORE_NODES, NODE, subresource="status"),
        Row("a namespace", kinds.NAMESPACES, ns, new=_object("v1", "Namespace", "x")),
        Row("a Secret", rights.SECRETS, "secret", ns, new=_object("v1", "Secret", "x", ns)),
        Row("a ConfigMap", rights.CONFIGMAPS, "map", ns, new=_object("v1", "ConfigMap", "x", ns)),
        Row(
            "a service account",
            rights.ACCOUNTS,
            model.CONTROLLER,
            ns,
            new=_object("v1", "ServiceAccount", "x", ns),
        ),
        Row(
            "… its tokens",
            rights.ACCOUNTS,
            model.CONTROLLER,
            ns,
            "token",
            new=token,
            verbs=("create",),
        ),
        Row(
            "a ClusterRole",
            rights.ROLES,
            "tambourine-node",
            new=_object(RBAC, "ClusterRole", "x", rules=[]),
        ),
        Row("a ClusterRoleBinding", rights.BINDINGS, "tambourine-node", new=_binding()),
        Row("the policies", rights.POLICIES, "tambourine-node-objects", new=_policy()),
        Row(
            "their bindings",
            rights.POLICY_BINDINGS,
            "tambourine-node-objects",
            new=_policy_binding(),
        ),
    ]
    return found


# What a new one would be, whole, so that only rights and policies can refuse it.


def _core_event(namespace: str) -> Object:
    about = {"apiVersion": "v1", "kind": "Pod", "namespace": namespace, "name": "x"}
    said = {"reason": "Started", "message": "it is started", "type": "Normal"}
    return _object("v1", "Event", "x", namespace, involvedObject=about, **said)


def _crd() -> Object:
    schema = {"openAPIV3Schema": {"type": "object"}}
    version = {"name": "v1", "served": True, "storage": True, "schema": schema}
    names = {"plural": "xs", "singular": "x", "kind": "X", "listKind": "XList"}
    spec = {"group": "example.org", "scope": "Cluster", "names": names, "versions": [version]}
    return _object(
        "apiextensions.k8s.io/v1", "CustomResourceDefinition", "xs.example.org", spec=spec
    )


def _binding() -> Object:
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"}
    return _object(RBAC, "ClusterRoleBinding", "x", roleRef=role, subjects=[])


def _policy() -> Object:
    rule = {
        "apiGroups": [""],
        "apiVersions": ["v1"],
        "operations": ["CREATE"],
        "resources": ["configmaps"],
    }
    spec = {
        "matchConstraints": {"resourceRules": [rule]},
        "validations": [{"expression": "true"}],
    }
    return _object(ADMISSION, "ValidatingAdmissionPolicy", "x", spec=spec)


def _policy_binding() -> Object:
    spec = {"policyName": "x", "validationActions": ["Deny"]}
    return _object(ADMISSION, "ValidatingAdmissionPolicyBinding", "x", spec=spec)


def _finalizer() -> Object:
    return {"metadata": {"finalizers": ["example.org/mine"]}}
