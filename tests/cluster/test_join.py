"""A host joins: the administrator's command, the snippet on the host, the TambourineNode; the key never leaves."""

from __future__ import annotations

import base64
import datetime as dt
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from tambourinefs.cli.common.invitation import Invitation
from tests.cluster.joining import aged, fresh_node, invite, put_back
from tests.cluster.manifests import fresh_name, sleeper, tambourine
from tests.cluster.world import Cluster
from tests.lab import tree
from tests.lab.hosts import Host

SYNC = "tambourine-sync.service"
IDENTITY = "/var/lib/tambourine/identity/node.pem"
KUBECONFIG = "/etc/tambourine/kubernetes/kubeconfig"
DAY = dt.timedelta(days=1)


def show(host: Host, unit: str, what: str) -> str:
    return host.run("systemctl", "show", "--property", what, "--value", unit).stdout.strip()


def pem(host: Host) -> bytes:
    return host.run("cat", IDENTITY).stdout.encode()


def conditions(cluster: Cluster, node: str) -> dict[str, Any]:
    found = cluster.get("tmbn", node)["status"]["conditions"]
    return {one["type"]: one for one in found}


def beats(cluster: Cluster, node: str) -> str:
    lease = cluster.get("lease", f"tambourine-{node}", "-n", "kube-node-lease")
    return str(lease["spec"]["renewTime"])


@pytest.fixture
def h2(cluster: Cluster) -> Iterator[Host]:
    """h2, whose identity and configuration are put back."""
    host = cluster.host("h2")
    with put_back(cluster, host):
        yield host


def test_a_joined_host_is_a_node_of_its_own(cluster: Cluster) -> None:
    for host in cluster.hosts:
        node = cluster.get("tmbn", host.name)
        assert node["status"]["version"]
        said = conditions(cluster, host.name)
        assert said["Ready"]["status"] == said["IdentityGood"]["status"] == "True"
        certificate = x509.load_pem_x509_certificate(pem(host))
        names = {one.rfc4514_attribute_name: one.value for one in certificate.subject}
        assert names == {"O": "tambourine:nodes", "CN": f"tambourine:node:{host.name}"}


def test_who_may_read_what_on_the_host(cluster: Cluster) -> None:
    host = cluster.hosts[0]
    said = host.run("stat", "--format=%n %a %U %G", KUBECONFIG, IDENTITY).stdout
    assert said.splitlines() == [
        f"{KUBECONFIG} 640 root tambourine",
        f"{IDENTITY} 600 tambourine-sync tambourine",
    ]
    text = host.run("cat", KUBECONFIG).stdout
    user = json.loads(text)["users"][0]["user"]
    assert user == {"client-certificate": IDENTITY, "client-key": IDENTITY}
    refused = host.run(
        "systemd-run", "--wait", "--pipe", "--quiet", "-p", "User=bombshell", "cat", IDENTITY,
        check=False,
    )  # fmt: skip
    assert "Permission denied" in refused.stderr


def test_no_private_key_has_left_the_hosts(cluster: Cluster) -> None:
    there = cluster.kubectl(
        "get", "csr,sa,clusterroles,clusterrolebindings,tmbn", "-A", "-o", "json"
    )
    requests = [base64.b64decode(item["spec"]["request"]) for item in cluster.get("csr")["items"]]
    for host in cluster.hosts:
        key = load_pem_private_key(pem(host), password=None)
        secret = key.private_numbers().private_value.to_bytes(32, "big")  # type: ignore[union-attr]
        ders = [x509.load_pem_x509_csr(one).tbs_certrequest_bytes for one in requests]
        assert not any(secret in der for der in ders)
    assert "PRIVATE" not in there.stdout
    assert not any(b"PRIVATE" in one for one in requests)


def test_the_join_accounts_are_taken_back(cluster: Cluster) -> None:
    def left() -> str:
        found = cluster.kubectl("get", "sa,clusterrolebinding", "-A", "-o", "name").stdout
        return " ".join(re.findall(r"tambourine-join-h\d+$", found, re.MULTILINE))

    cluster.wait(lambda: left() == "", "the accounts to go", seconds=90)


def test_sync_is_confined(cluster: Cluster) -> None:
    host = cluster.hosts[0]
    said = host.run("systemd-analyze", "security", "--no-pager", SYNC).stdout
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", said)
    assert found is not None, said
    assert float(found[1]) <= 1.5
    pid = show(host, SYNC, "MainPID")
    lines = host.run("cat", f"/proc/{pid}/status").stdout.splitlines()
    status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    assert int(status["CapEff"], 16) == 0
    assert status["Uid"].split() == ["61001"] * 4


def test_a_second_sync_on_the_host_is_refused(cluster: Cluster) -> None:
    host = cluster.hosts[0]
    done = host.run("tambourine", "sync", check=False)
    assert done.returncode == 1
    assert "another sync runs on this node" in done.stderr


def test_an_identity_near_its_end_is_renewed_and_sync_goes_on(cluster: Cluster, h2: Host) -> None:
    old = aged(cluster.plane.pki, "h2", 80 * DAY, 10 * DAY)
    h2.run("systemctl", "stop", SYNC)
    h2.run("sh", "-c", f"cat >{IDENTITY}", input=old.decode())
    h2.run("systemctl", "start", SYNC)
    started = show(h2, SYNC, "MainPID")
    cluster.wait(lambda: pem(h2) != old, "another identity")
    before, after = (x509.load_pem_x509_certificate(one) for one in (old, pem(h2)))
    assert after.public_key() != before.public_key()
    assert after.subject == before.subject
    seen = beats(cluster, "h2")
    cluster.wait(lambda: beats(cluster, "h2") != seen, "a heartbeat by the new identity")
    assert show(h2, SYNC, "MainPID") == started
    assert conditions(cluster, "h2")["IdentityGood"]["status"] == "True"


def test_joining_again_gives_another_identity_and_touches_no_service(
    cluster: Cluster, h2: Host
) -> None:
    name, namespace = fresh_name("kept"), cluster.namespace
    h2.run("sh", "-c", "cat >/tmp/m.json", input=json.dumps(tambourine(name, command="start", unit=sleeper())))  # fmt: skip
    h2.run("tambourine", "apply", "-f", "/tmp/m.json")
    before, pid = pem(h2), show(h2, f"{name}.service", "MainPID")
    words = invite(cluster, "h2", "--allow-namespace", namespace)
    done = h2.run(*words)
    assert f"h2 has joined {cluster.plane.server}" in done.stdout
    assert "waiting for the controller to approve" in done.stderr
    assert pem(h2) != before
    cluster.wait(
        lambda: namespace in cluster.get("tmbn", "h2")["status"]["namespaces"],
        "the allowed namespaces",
    )
    assert show(h2, f"{name}.service", "MainPID") == pid

    once_more = h2.run(*words, check=False)
    # The controller deletes the account of a used token after a while; then the API server rejects it.
    assert (once_more.returncode, "the token has been used" in once_more.stderr) == (3, True) or (
        once_more.returncode,
        "the API server rejects the join token" in once_more.stderr,
    ) == (4, True), once_more.stderr
    assert "kubectl tambourine join h2" in once_more.stderr
    assert show(h2, SYNC, "ActiveState") == "active"
    h2.run("tambourine", "delete", name)


def test_a_token_that_was_withdrawn_says_how_to_get_another(cluster: Cluster, h2: Host) -> None:
    words = invite(cluster, "h2")
    invite(cluster, "h2")  # a newer snippet: the older one is good for nothing
    done = h2.run(*words[:-1], "-", input=f"{words[-1]}\n", check=False)
    assert done.returncode == 4
    assert "the API server rejects the join token" in done.stderr
    assert "kubectl tambourine join h2" in done.stderr


def test_another_s_invitation_cannot_be_bent_to_this_node(cluster: Cluster, h2: Host) -> None:
    """h2 with the token that was made for another: its name in it changed to h1."""
    invitation = Invitation.decode(invite(cluster, fresh_node())[-1])
    bent = Invitation(invitation.server, invitation.ca, invitation.token, "h1")
    before = pem(h2), h2.run("cat", KUBECONFIG).stdout
    done = h2.run("tambourine", "join", bent.encode(), check=False)
    assert done.returncode == 3
    assert "must not request an identity of node h1" in done.stderr
    assert (pem(h2), h2.run("cat", KUBECONFIG).stdout) == before


@pytest.mark.parametrize(
    ("token", "said"),
    [
        ("hello", "not a join token, or only a part of one"),
        ("", "not a join token"),
        ("W1tb" * 9000, "not a join token"),
        ("e30", "not a join token"),
        ("=" * 70000, "the join token is too long"),
    ],
)
def test_what_is_no_invitation_is_said(cluster: Cluster, token: str, said: str) -> None:
    done = cluster.hosts[0].run("tambourine", "join", token, check=False)
    assert done.returncode == 2
    assert said in done.stderr
    assert "hint: copy the whole command" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_namespace_that_is_none_costs_no_token(cluster: Cluster, h2: Host) -> None:
    words = invite(cluster, "h2")
    done = h2.run(*words[:-1], "--allow-namespace=Storage", words[-1], check=False)
    assert done.returncode == 2
    assert '--allow-namespace "Storage": a namespace has at most' in done.stderr
    assert h2.run(*words).returncode == 0


def test_an_api_server_that_is_away_is_said(cluster: Cluster) -> None:
    words = invite(cluster, fresh_node())
    cluster.stop_api()
    done = cluster.hosts[0].run(*words, check=False)
    cluster.start_api()
    assert done.returncode == 4
    assert "does not answer" in done.stderr
    assert "Traceback" not in done.stderr


def test_installing_with_a_kubeconfig_twice_changes_nothing_the_second_time(
    cluster: Cluster, h2: Host
) -> None:
    argv = (
        "env", "PYTHONPATH=/src", "/usr/bin/python3", "-m", "tambourinefs.install",
        f"--wheelhouse={tree.WHEELS}", "--kubeconfig=/root/given", "--node-name=h2",
        f"--allow-namespace={cluster.namespace}",
    )  # fmt: skip
    h2.run("cp", KUBECONFIG, "/root/given")
    h2.run(*argv)
    cluster.wait(
        lambda: cluster.namespace in cluster.get("tmbn", "h2")["status"]["namespaces"], "the allowed namespaces",
    )  # fmt: skip
    pids = [show(h2, unit, "MainPID") for unit in (SYNC, "tambourine.service")]
    again = h2.run(*argv).stdout
    assert "cluster: as it should be" in again
    assert "services: as it should be" in again
    assert [show(h2, unit, "MainPID") for unit in (SYNC, "tambourine.service")] == pids
    h2.run("rm", "/root/given")
