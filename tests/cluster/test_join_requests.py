"""Who gets a node's identity from a real API server: the one who was invited, once; and the node itself, again."""

from __future__ import annotations

import base64
import datetime as dt
import json
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from tambourinefs.cli.common.invitation import Invitation
from tambourinefs.controller import csr_policy
from tambourinefs.controller.approver import Approver
from tambourinefs.errors import HostError, NotFound, RefusedByPolicy
from tambourinefs.kube import csr
from tambourinefs.kube.api import Api
from tambourinefs.kube.errors import Forbidden, Unauthorized
from tambourinefs.kube.resources import (
    CLUSTER_ROLE_BINDINGS,
    CLUSTER_ROLES,
    CSRS,
    SERVICE_ACCOUNTS,
    Resource,
)
from tambourinefs.model.cluster import NODE_GROUP, NODE_USER_PREFIX, join_account
from tests.cluster.joining import (
    Fate,
    approving,
    by_identity,
    by_token,
    fate,
    fresh_node,
    invite,
    plugin,
    post,
)
from tests.cluster.world import Cluster
from tests.unit import csr_zoo

SYSTEM = csr_zoo.NAMESPACE


def invited(cluster: Cluster, node: str) -> Invitation:
    return Invitation.decode(invite(cluster, node)[-1])


def test_the_snippet_is_one_command_that_names_the_namespaces_that_the_host_allows(
    control_plane: Cluster,
) -> None:
    node = fresh_node()
    words = invite(control_plane, node, "--allow-namespace", "storage", "--allow-namespace", "*")
    assert words[:-1] == [
        "tambourine",
        "join",
        "--allow-namespace",
        "storage",
        "--allow-namespace",
        "*",
    ]
    invitation = Invitation.decode(words[-1])
    assert (invitation.node, invitation.server) == (node, control_plane.plane.server)
    assert "PRIVATE KEY" not in invitation.ca + invitation.token


def test_the_plugin_says_what_stands_in_the_way(control_plane: Cluster, tmp_path: Path) -> None:
    wrong = plugin(control_plane, "join", "Worker_7")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert 'node "Worker_7": ' in wrong.stderr
    wrong = plugin(control_plane, "join", fresh_node(), "--allow-namespace", "Storage")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    wrong = plugin(control_plane, "join", fresh_node(), "--system-namespace", "elsewhere")
    assert (wrong.returncode, wrong.stdout) == (1, "")
    assert 'namespace "elsewhere" not found' in wrong.stderr
    assert "--system-namespace" in wrong.stderr
    done = plugin(control_plane, "join", fresh_node())
    assert "does not exist yet" in done.stderr
    assert done.returncode == 0


def test_who_may_not_make_roles_may_not_invite(control_plane: Cluster, tmp_path: Path) -> None:
    """Not even who may edit everything in a namespace: an invitation is a role of the cluster's."""
    namespace, node = control_plane.namespace, fresh_node()
    control_plane.kubectl("create", "serviceaccount", "editor", "-n", namespace)
    control_plane.kubectl(
        "create", "rolebinding", "editor", "--clusterrole=admin", f"--serviceaccount={namespace}:editor",
        "-n", namespace,
    )  # fmt: skip
    token = control_plane.kubectl("create", "token", "editor", "-n", namespace).stdout.strip()
    config = json.loads(control_plane.kubeconfig.read_text())
    config["users"][0]["user"] = {"token": token}
    (tmp_path / "editor").write_text(json.dumps(config))
    done = plugin(control_plane, "join", node, "--kubeconfig", str(tmp_path / "editor"))
    assert (done.returncode, done.stdout) == (3, "")
    assert "clusterroles" in done.stderr
    assert "Traceback" not in done.stderr
    for what in ("clusterrole", "clusterrolebinding"):
        there = control_plane.kubectl("get", what, f"tambourine:node:{node}", check=False)
        assert there.returncode == 1


def test_a_cluster_without_tambourine_is_said(control_plane: Cluster) -> None:
    role = control_plane.get("clusterrole", "tambourine-join")
    control_plane.kubectl("delete", "clusterrole", "tambourine-join")
    try:
        done = plugin(control_plane, "join", "h1")
    finally:
        for key in ("resourceVersion", "uid", "creationTimestamp"):
            del role["metadata"][key]
        control_plane.api.create(CLUSTER_ROLES, role)
    assert (done.returncode, done.stdout) == (1, "")
    assert "Tambourine is not installed in this cluster" in done.stderr
    assert "kubectl apply -k k8s/" in done.stderr


def test_a_token_gives_its_node_s_identity_and_no_more(
    control_plane: Cluster, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    node = fresh_node()
    api = by_token(invited(control_plane, node), tmp_path)
    with approving(control_plane, monkeypatch):
        pem = csr.request(api, node, seconds=30, lifetime=3600)
    certificate = x509.load_pem_x509_certificate(pem)
    key = load_pem_private_key(pem, password=None)
    assert key.public_key() == certificate.public_key()
    assert certificate.subject == csr_zoo.of_node(node)
    assert certificate.not_valid_after_utc - certificate.not_valid_before_utc < dt.timedelta(
        hours=2
    )

    (tmp_path / "node.pem").write_bytes(pem)
    kubectl = control_plane.kubectl(
        "auth", "whoami", "-o", "json", kubeconfig=_last(tmp_path, control_plane)
    )
    who = json.loads(kubectl.stdout)["status"]["userInfo"]
    assert who["username"] == f"{NODE_USER_PREFIX}{node}"
    assert NODE_GROUP in who["groups"]


def _last(tmp_path: Path, cluster: Cluster) -> Path:
    by_identity(cluster, tmp_path / "node.pem")
    return max(tmp_path.glob("kubeconfig-*"), key=lambda path: path.stat().st_mtime_ns)


def test_no_private_key_reaches_the_api_server(
    control_plane: Cluster, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    node = fresh_node()
    invitation = invited(control_plane, node)
    with approving(control_plane, monkeypatch):
        pem = csr.request(by_token(invitation, tmp_path), node, seconds=30)
    key = load_pem_private_key(pem, password=None)
    secret = key.private_numbers().private_value.to_bytes(32, "big")  # type: ignore[union-attr]
    there = json.dumps(control_plane.get("csr", "--show-managed-fields"))
    bodies = [base64.b64decode(item["spec"]["request"]) for item in json.loads(there)["items"]]
    ders = [x509.load_pem_x509_csr(body).tbs_certrequest_bytes for body in bodies]
    point = x509.load_pem_x509_certificate(pem).public_key().public_numbers().x.to_bytes(32, "big")  # type: ignore[union-attr]
    assert any(point in der for der in ders), "the request of this node is not among them"
    assert not any(secret in der for der in ders)
    assert "PRIVATE" not in there
    assert not any(b"PRIVATE" in body for body in bodies)


def test_hostile_requests_with_a_join_token_get_nothing(
    control_plane: Cluster, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Every one of the tables, by the token of h1's join account: refused by the API server, denied, or left alone."""
    api = by_token(invited(control_plane, "h1"), tmp_path)
    hostile = csr_zoo.hostile() | csr_zoo.not_ours()
    hostile |= {"for another node": csr_zoo.first(node="h2")}
    posted = {
        word: name
        for word, item in hostile.items()
        if not word.startswith(("by ", "renewal")) and (name := post(api, item["spec"]))
    }
    assert len(posted) > 40, "hardly any came as far as the controller"
    with approving(control_plane, monkeypatch):
        good = csr.request(api, "h1", seconds=30, lifetime=3600)  # after all of them
        assert good
        fates = _fates(control_plane, posted, hostile)
    assert {word for word, one in fates.items() if one.condition == "Approved"} == set()
    assert {word for word, one in fates.items() if one.certificate} == set()
    denied = {word for word, one in fates.items() if one.condition == "Denied"}
    assert "for another node" in denied
    assert "first, a letter before ours, then another" in denied
    assert "a person's" not in denied


def _fates(
    cluster: Cluster, posted: dict[str, str], items: dict[str, csr_zoo.Object]
) -> dict[str, Fate]:
    """What became of each, once the approver has decided on all that it does not leave alone."""
    ours = [
        name
        for word, name in posted.items()
        if (request := csr_policy.project(items[word]))
        and csr_policy.decide(request, SYSTEM).action != "ignore"
    ]
    cluster.wait(lambda: all(fate(cluster.api, name).condition for name in ours), "a word on each")
    return {word: fate(cluster.api, name) for word, name in posted.items()}


def test_a_node_renews_itself_and_gets_nothing_else(
    control_plane: Cluster, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    token = by_token(invited(control_plane, "h1"), tmp_path)
    with approving(control_plane, monkeypatch):
        (tmp_path / "node.pem").write_bytes(csr.request(token, "h1", seconds=30, lifetime=3600))
        api = by_identity(control_plane, tmp_path / "node.pem")
        hostile = csr_zoo.hostile() | {"renewal, for another node": csr_zoo.renewal(node="h2")}
        posted = {
            word: name
            for word, item in hostile.items()
            if word.startswith("renewal") and (name := post(api, item["spec"]))
        }
        assert len(posted) > 30, "hardly any came as far as the controller"
        again = csr.request(api, "h1", seconds=30, lifetime=3600)
        fates = _fates(control_plane, posted, hostile)
        with pytest.raises(RefusedByPolicy, match="must not request an identity of node h2"):
            csr.request(api, "h2", seconds=30)
    assert x509.load_pem_x509_certificate(again).subject == csr_zoo.of_node("h1")
    assert {word for word, one in fates.items() if one.condition == "Approved"} == set()
    assert {word for word, one in fates.items() if one.certificate} == set()


def test_another_node_s_token_is_denied_with_the_reason(
    control_plane: Cluster, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    mine, other = fresh_node(), fresh_node()
    api = by_token(invited(control_plane, other), tmp_path)
    with (
        approving(control_plane, monkeypatch),
        pytest.raises(RefusedByPolicy, match=f"must not request an identity of node {mine}"),
    ):
        csr.request(api, mine, seconds=30)


def test_a_token_is_good_once_and_taken_back(
    control_plane: Cluster, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    node = fresh_node()
    api = by_token(invited(control_plane, node), tmp_path)
    account = join_account(node)
    with approving(control_plane, monkeypatch):
        csr.request(api, node, seconds=30)
        with pytest.raises(RefusedByPolicy, match="the token has been used"):
            csr.request(api, node, seconds=30)
    assert control_plane.api.get(SERVICE_ACCOUNTS, account, SYSTEM), "the host had no time to fetch"
    with approving(control_plane, monkeypatch, grace=0.5):
        for resource, namespace in ((SERVICE_ACCOUNTS, SYSTEM), (CLUSTER_ROLE_BINDINGS, "")):
            control_plane.wait(
                lambda what=(resource, account, namespace): _is_gone(control_plane, *what),  # type: ignore[misc]
                f"{resource.kind} {account} to go",
            )
        # The API server believes a token that it has seen for some seconds more.
        control_plane.wait(lambda: _is_unknown(api), "the token to end")

        # A second invitation stands, though the first one's request is still there, after a change of leaders too.
        second = by_token(invited(control_plane, node), tmp_path)
    with approving(control_plane, monkeypatch, grace=0.5):
        other = fresh_node()
        csr.request(by_token(invited(control_plane, other), tmp_path), other, seconds=30)
        control_plane.wait(
            lambda: _is_gone(control_plane, SERVICE_ACCOUNTS, join_account(other), SYSTEM),
            "the next one's account to go",
        )
        assert control_plane.api.get(SERVICE_ACCOUNTS, account, SYSTEM)
        assert csr.request(second, node, seconds=30)


def test_after_a_change_of_leaders_nothing_is_written_for_what_was_taken_back(
    control_plane: Cluster, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    node = fresh_node()

    def all_are_done(leader: Approver) -> bool:
        seen = dict(leader._issued)
        assert all(since == float("inf") for since in seen.values()), seen
        return bool(seen)

    with approving(control_plane, monkeypatch, grace=0.1) as first:
        csr.request(by_token(invited(control_plane, node), tmp_path), node, seconds=30)
        control_plane.wait(
            lambda: (
                _is_gone(control_plane, SERVICE_ACCOUNTS, join_account(node), SYSTEM)
                and all_are_done(first)
            ),
            "all that was used to be taken back",
        )
    with approving(control_plane, monkeypatch, grace=0.1) as second:
        control_plane.wait(lambda: all_are_done(second), "the next leader to go through them")
        assert second._api.writes == {}


def _is_gone(cluster: Cluster, resource: Resource, name: str, namespace: str) -> bool:
    try:
        cluster.api.get(resource, name, namespace)
    except NotFound:
        return True
    return False


def _is_unknown(api: Api) -> bool:
    try:
        api.get(CSRS, "none")
    except Unauthorized:
        return True
    except (NotFound, Forbidden):
        return False
    return False


def test_without_a_controller_the_host_says_what_is_missing(
    control_plane: Cluster, tmp_path: Path
) -> None:
    node = fresh_node()
    api = by_token(invited(control_plane, node), tmp_path)
    said: list[str] = []
    with pytest.raises(HostError, match="is tambourine-controller running") as caught:
        csr.request(api, node, seconds=1, progress=said.append)
    assert caught.value.hint is not None
    assert caught.value.hint.startswith("kubectl describe csr tambourine-")
    assert said == [f"waiting for the controller to approve {caught.value.hint.split()[-1]}"]
