"""The CRI example on hosts whose containerd runs already: what the kubelet would see changes, and changes back."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator

import grpc
import pytest

from tests.cluster.examples import applied, journal, property_of, unchanged
from tests.cluster.world import Cluster
from tests.lab.hosts import Host

SOCKET = "run/containerd/containerd.sock"
VERBOSE = b"\x08\x01"  # runtime.v1.StatusRequest, its field `verbose`
NAME = "container-check"
BUNDLE = f"run/containerd/io.containerd.runtime.v2.task/{NAME}/{NAME}"


def _default_runtime(host: Host) -> str:
    """As the kubelet asks (CRI, RuntimeService.Status): the runtime that pods get."""
    answers: list[bytes] = []

    def answered() -> bool:
        """containerd takes connections before it is ready to answer."""
        with grpc.insecure_channel(
            f"unix:{host.root / SOCKET}", options=[("grpc.default_authority", "localhost")]
        ) as channel:
            ask: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(
                "/runtime.v1.RuntimeService/Status"
            )
            try:
                answers.append(ask(VERBOSE, timeout=30, wait_for_ready=True))
            except grpc.RpcError as error:
                if "not initialized yet" not in str(error.details()):
                    raise
        return bool(answers)

    Cluster.wait(answered, "containerd to be ready")
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
    host, check = cluster.hosts[0], f"{NAME}.service"
    with applied(cluster, "cri"):
        host.run("systemctl", "stop", "containerd.service")
        host.run("systemctl", "restart", "--no-block", check)

        def is_active() -> bool:
            state = property_of(host, check, "ActiveState")
            assert state == "active", f"{state}: {journal(host, check)[-5:]}"
            return True

        cluster.wait(lambda: any("containerd" in line for line in journal(host, check)), "a try")
        assert property_of(host, check, "ActiveState") == "activating"
        host.run("systemctl", "start", "containerd.service")
        cluster.wait(is_active, "the check")
        assert journal(host, check)[-1].startswith("process 1 of a container, on Linux")


def _field(number: int, text: bytes) -> bytes:
    """A field of bytes, below 128 of them, in protobuf's encoding."""
    return bytes([number << 3 | 2, len(text)]) + text


def _run_detached(host: Host) -> bool:
    """Whether a container of the check's name runs. Its own goes first: it is still there where containerd restarted when
    the check had it removed.
    """
    host.run("/usr/local/libexec/container-check", "clear")
    done = host.run(
        "ctr", "--namespace", NAME, "run", "--detach", "--runc-binary", "/usr/bin/crun", "--rootfs",
        "--mount", "type=bind,src=/usr,dst=/usr,options=rbind:ro", "--env", "PATH=/usr/bin",
        f"/run/{NAME}/rootfs", NAME, "sleep", "infinity",
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return True


def _forget_task(host: Host) -> None:
    """Let the shim delete its task, as containerd does before it ends the shim. By ttrpc: containerd/ttrpc, PROTOCOL.md."""
    payload = _field(1, NAME.encode())  # containerd.task.v2.DeleteRequest
    request = _field(1, b"containerd.task.v2.Task") + _field(2, b"Delete") + _field(3, payload)
    address = (host.root / BUNDLE / "address").read_text().removeprefix("unix:///")
    directory = os.open((host.root / address).parent, os.O_PATH | os.O_DIRECTORY)
    try:
        with socket.socket(socket.AF_UNIX) as shim:
            shim.settimeout(30)
            # By way of the descriptor: the whole path is too long for an address.
            shim.connect(f"/proc/self/fd/{directory}/{os.path.basename(address)}")
            shim.sendall(struct.pack(">IIBB", len(request), 1, 1, 0) + request)
            assert shim.recv(4096)
    finally:
        os.close(directory)


@pytest.mark.usefixtures("running_containerd")
def test_the_check_gets_over_a_shim_that_an_interrupted_containerd_has_left(
    cluster: Cluster,
) -> None:
    """containerd 1.6 takes such a one, at its next start, for a task that is there and that ctr does not find."""
    host, check = cluster.hosts[0], f"{NAME}.service"
    with applied(cluster, "cri"):
        cluster.wait(lambda: _run_detached(host), "a container that stays")
        host.run("systemctl", "stop", "containerd.service")
        host.run("crun", "--root", f"/run/containerd/runc/{NAME}", "kill", NAME, "KILL")
        _forget_task(host)
        host.run("systemctl", "start", "containerd.service")
        host.run("ctr", "--namespace", NAME, "containers", "delete", NAME)
        again = host.run("systemctl", "restart", check, check=False)
        assert again.returncode == 0, journal(host, check)[-5:]
        assert journal(host, check)[-1].startswith("process 1 of a container, on Linux")
