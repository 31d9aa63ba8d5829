"""The packet filter examples: who is kept out while they are there, who is not, and the tables as before afterwards."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

from tests.cluster.examples import applied
from tests.cluster.world import Cluster
from tests.lab.hosts import Host

METADATA = "169.254.169.254"
REACHED = "ECONNREFUSED"  # the other end refuses: nothing listens there
REJECTED = "EHOSTUNREACH"  # what icmp admin-prohibited is to connect(2)
CONNECT = """
import errno, socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), 10)
except OSError as error:
    print(errno.errorcode[error.errno])
"""
# A pod, a host that forwards, and a cloud whose metadata service does not listen.
NETWORK = f"""
set -e
echo 1 >/proc/sys/net/ipv4/ip_forward
for end in pod cloud; do
    ip netns add $end
    ip link add $end-host type veth peer name eth0 netns $end
    ip link set $end-host up
    ip -n $end link set eth0 up
done
ip address add 10.99.1.1/24 dev pod-host
ip -n pod address add 10.99.1.2/24 dev eth0
ip -n pod route add default via 10.99.1.1
ip address add 169.254.169.1/24 dev cloud-host
ip -n cloud address add {METADATA}/24 dev eth0
ip -n cloud route add default via 169.254.169.1
"""
NO_NETWORK = """
ip netns delete pod
ip netns delete cloud
ip link delete pod-host 2>/dev/null
ip link delete cloud-host 2>/dev/null
umount /run/netns && rmdir /run/netns
echo 0 >/proc/sys/net/ipv4/ip_forward
"""


def _connect(host: Host, address: str, port: int, *before: str) -> str:
    """How a connection ends; `before`: the command that sets user and network."""
    return host.run(*before, "python3", "-c", CONNECT, address, str(port)).stdout.strip()


@contextmanager
def _pod_and_cloud(host: Host) -> Iterator[None]:
    try:
        host.run("sh", "-c", NETWORK)
        yield
    finally:
        host.run("sh", "-c", NO_NETWORK)


def _metadata(host: Host) -> dict[str, str]:
    nobody = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
    return {
        "root": _connect(host, METADATA, 80),
        "nobody": _connect(host, METADATA, 80, *nobody),
        "pod": _connect(host, METADATA, 80, "ip", "netns", "exec", "pod"),
    }


def test_only_root_reaches_the_metadata_service_while_the_nftables_example_is_there(
    cluster: Cluster,
) -> None:
    h1 = cluster.host("h1")
    all_users = dict.fromkeys(("root", "nobody", "pod"), REACHED)
    with _pod_and_cloud(h1):
        h1.run("nft", "add table inet other; add set inet other s { type ipv4_addr; }")
        try:
            assert _metadata(h1) == all_users
            with applied(cluster, "nftables"):
                assert _metadata(h1) == {"root": REACHED, "nobody": REJECTED, "pod": REJECTED}
                h1.run("systemctl", "reload", "metadata-guard")
                assert _metadata(h1) == {"root": REACHED, "nobody": REJECTED, "pod": REJECTED}
                rules = json.loads(
                    h1.run("nft", "--json", "list", "table", "inet", "metadata_guard").stdout
                )
                assert len([item for item in rules["nftables"] if "rule" in item]) == 2
            assert _metadata(h1) == all_users
        finally:
            h1.run("nft", "delete", "table", "inet", "other")


def test_only_the_host_itself_reaches_the_port_while_the_iptables_example_is_there(
    cluster: Cluster,
) -> None:
    h1, h2 = cluster.host("h1"), cluster.host("h2")
    [address] = [
        line.split()[2].partition("/")[0]
        for line in h1.run("ip", "-brief", "-4", "address").stdout.splitlines()
        if line.startswith("eth0")
    ]
    somebodys = ("INPUT", "--protocol", "tcp", "--source", "203.0.113.9", "--jump", "DROP")
    try:
        for host in (h1, h2):
            host.run("iptables", "--append", *somebodys)
        assert _connect(h2, address, 10255) == REACHED
        with applied(cluster, "iptables"):
            assert _connect(h2, address, 10255) == REJECTED
            assert _connect(h2, address, 10256) == REACHED
            assert _connect(h1, address, 10255) == REACHED
            assert _connect(h1, "127.0.0.1", 10255) == REACHED
            listed = h1.run("iptables", "--list-rules", "INPUT").stdout.splitlines()
            assert listed[1] == "-A INPUT -p tcp -m tcp --dport 10255 -j KUBELET-PORT-GUARD"
            assert listed[2].endswith("-s 203.0.113.9/32 -p tcp -j DROP")
        assert _connect(h2, address, 10255) == REACHED
    finally:
        for host in (h1, h2):
            host.run("iptables", "--delete", *somebodys, check=False)
            host.run("nft", "delete", "table", "ip", "filter", check=False)
