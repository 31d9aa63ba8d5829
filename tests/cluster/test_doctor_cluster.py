"""`tambourine doctor` on a host that has joined: API server, identity and Lease; and what fixes them."""

from __future__ import annotations

import datetime as dt
import json
import shlex
from collections.abc import Iterator

import pytest

from tests.cluster.joining import aged, plugin, put_back
from tests.cluster.world import Cluster
from tests.e2e.doctor import Line, examine, find, shell
from tests.lab.hosts import Host

SYNC = "tambourine-sync.service"
IDENTITY = "/var/lib/tambourine/identity/node.pem"
KUBECONFIG = "/etc/tambourine/kubernetes/kubeconfig"
LEASES = "kube-node-lease"
DAY = dt.timedelta(days=1)


@pytest.fixture
def h2(cluster: Cluster) -> Iterator[Host]:
    """h2, healthy; its identity and configuration are put back."""
    host = cluster.host("h2")
    cluster.wait(lambda: well(host), "h2 is well")
    with put_back(cluster, host):
        yield host


def well(host: Host) -> bool:
    found = [one for one in examine(host) if one.check in {"cluster", "identity"}]
    return [one.state for one in found] == ["ok"]


def named(host: Host, check: str, says: str, state: str = "error") -> Line:
    found = examine(host)
    line = find(found, check, says)
    assert line is not None, "\n".join(map(str, found))
    assert line.state == state
    return line


def lay(host: Host, identity: bytes) -> None:
    host.run("systemctl", "stop", SYNC)
    host.run("sh", "-c", f"cat >{IDENTITY}", input=identity.decode())


def test_a_node_that_is_well_is_one_line(cluster: Cluster, h2: Host) -> None:
    line = find(examine(h2), "cluster", "h2 at https://")
    assert line is not None
    assert "identity valid until 20" in line.message
    writes = cluster.get("lease", "tambourine-h2", "-n", LEASES)["spec"]["holderIdentity"]
    assert writes == "h2", "looking at the Lease changes nothing of it"


def test_a_lease_that_nobody_renews_is_told_and_mended(cluster: Cluster, h2: Host) -> None:
    h2.run("systemctl", "stop", SYNC)
    old = (dt.datetime.now(dt.UTC) - dt.timedelta(minutes=5)).strftime("%Y-%m-%dT%H:%M:%S.000000Z")
    patch = json.dumps({"spec": {"renewTime": old}})
    cluster.kubectl("patch", "lease", "tambourine-h2", "-n", LEASES, "--type=merge", "-p", patch)
    line = named(h2, "cluster", r"Lease is 3\d\d s old")
    assert cluster.get("lease", "tambourine-h2", "-n", LEASES)["spec"]["renewTime"] == old
    shell(h2, line.command)
    cluster.wait(lambda: well(h2), "the Lease is renewed")


def test_an_api_server_that_is_away_is_told_in_time(h2: Host) -> None:
    h2.run("systemctl", "stop", SYNC)
    h2.run("sed", "-Ei", r"s#(https://[^:\"]+):[0-9]+#\1:1#", KUBECONFIG)
    assert ":1" in h2.run("grep", "-o", 'https://[^"]*', KUBECONFIG).stdout
    line = named(h2, "cluster", "https://.*:1 cannot be reached")
    assert line.command.endswith(":1/readyz")
    assert "connect" in shell(h2, line.command, check=False).lower()


def test_an_identity_that_was_not_renewed_in_time_is_told_and_mended(
    cluster: Cluster, h2: Host
) -> None:
    lay(h2, aged(cluster.plane.pki, "h2", 80 * DAY, 5 * DAY))
    line = named(h2, "identity", "is not renewed", "warning")
    shell(h2, line.command)
    cluster.wait(lambda: well(h2), "sync has renewed it")


def test_an_identity_that_has_ended_is_told_and_joining_again_fixes_it(
    cluster: Cluster, h2: Host
) -> None:
    lay(h2, aged(cluster.plane.pki, "h2", 90 * DAY, -dt.timedelta(minutes=1)))
    line = named(h2, "identity", "this node's identity expired")
    assert line.command == "kubectl tambourine join h2"
    invited = plugin(cluster, *shlex.split(line.command)[2:])
    assert invited.returncode == 0, invited.stderr
    shell(h2, invited.stdout, timeout=120)
    cluster.wait(lambda: well(h2), "it has joined again")


def test_a_kubeconfig_that_is_none_is_told(h2: Host) -> None:
    h2.run("sh", "-c", f"echo '[' >{KUBECONFIG}")
    assert named(h2, "cluster", "cannot be read as a kubeconfig").command
