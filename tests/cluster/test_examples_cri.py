"""The CRI example on hosts whose containerd runs already: what the kubelet would see changes, and changes back."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
import pytest

from lab.hosts import Host
from tests.cluster.examples import applied, journal, property_of, unchanged
from tests.cluster.world import Cluster

SOCKET = "run/containerd/containerd.sock"
VERBOSE = b"\x08\x01"  # runtime.v1.StatusRequest, its field `verbose`


def _default_runtime(host: Host) -> str:
    """As the kubelet asks (CRI, RuntimeService.Status): the runtime that pods get."""
    with grpc.insecure_channel(
        f"unix:{host.root / SOCKET}", options=[("grpc.default_authority", "localhost")]
    ) as channel:
        ask = channel.unary_unary("/runtime.v1.RuntimeService/Status")
        answer = ask(VERBOSE, timeout=30, wait_for_ready=True)
    _, _, rest = answer.partition(b'"defaultRuntimeName":"')
    return str(rest.partition(b'"')[0].decode())


@pytest.fixture
def running_containerd(cluster: Cluster) -> Iterator[None]:
    """On every host, with its package's configuration, as on a node; the hosts of the lab have it stopped."""
    try:
        for host in cluster.hosts:
            host.run("systemctl", "start", "containerd.service")
        yield
    finally:
        for host in cluster.hosts:
            host.run("systemctl", "stop", "containerd.service")


@pytest.mark.usefixtures("running_containerd")
def test_containerd_takes_crun_and_gives_it_back(cluster: Cluster) -> None:
    assert {_default_runtime(host) for host in cluster.hosts} == {"runc"}
    with unchanged(*cluster.hosts):
        pids = {}
        with applied(cluster, "cri"):
            for host in cluster.hosts:
                assert _default_runtime(host) == "crun"
                assert property_of(host, "containerd.service", "LimitNOFILE") == "1048576"
                said = journal(host, "container-check.service")
                assert any(line.startswith("process 1 of a container, on Linux") for line in said)
                pids[host.name] = property_of(host, "containerd.service", "MainPID")
        for host in cluster.hosts:
            # It is the host's: what runs is left alone, what it reads at its next start is the package's again.
            assert property_of(host, "containerd.service", "MainPID") == pids[host.name]
            host.run("systemctl", "restart", "containerd.service")
            assert _default_runtime(host) == "runc"
            assert property_of(host, "containerd.service", "LimitNOFILE") == "infinity"
