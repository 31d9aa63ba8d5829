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
    answers: list[bytes] = []

    def answered() -> bool:
        """containerd takes connections before it is ready to answer."""
        with grpc.insecure_channel(
            f"unix:{host.root / SOCKET}", options=[("grpc.default_authority", "localhost")]
        ) as channel:
            ask = channel.unary_unary("/runtime.v1.RuntimeService/Status")
            try:
                answers.append(ask(VERBOSE, timeout=30, wait_for_ready=True))
            except grpc.RpcError as error:
                if "not initialized yet" not in str(error.details()):
                    raise
        return bool(answers)

    Cluster.wait(answered, 30, "containerd to be ready")
    _, _, rest = answers[-1].partition(b'"defaultRuntimeName":"')
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


@pytest.mark.usefixtures("running_containerd")
def test_the_check_waits_for_a_containerd_that_is_away(cluster: Cluster) -> None:
    """The example's two Tambourines arrive in no order: containerd may restart while the check talks to it."""
    host, check = cluster.hosts[0], "container-check.service"
    with applied(cluster, "cri"):
        host.run("systemctl", "stop", "containerd.service")
        host.run("systemctl", "restart", "--no-block", check)

        def is_active() -> bool:
            state = property_of(host, check, "ActiveState")
            assert state == "active", f"{state}: {journal(host, check)[-5:]}"
            return True

        cluster.wait(
            lambda: any("containerd" in line for line in journal(host, check)), 20, "a try"
        )
        assert property_of(host, check, "ActiveState") == "activating"
        host.run("systemctl", "start", "containerd.service")
        cluster.wait(is_active, 30, "the check")
        assert journal(host, check)[-1].startswith("process 1 of a container, on Linux")
