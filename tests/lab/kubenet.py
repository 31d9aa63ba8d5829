"""The network between the control plane, the hosts and this machine: a bridge in the control plane's own namespace.

All of it hangs on that namespace: when its last process ends, the kernel takes bridge and cables away, also their
ends in hosts and on this machine.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from tests.lab.tools import LabError, run, wait_until

BRIDGE: Final = "lab0"
HARDWARE: Final = "02:00:0a:4d:00:01"  # a locally administered address
PORT: Final = 6443
SUBNETS: Final = 250


def inside(pid: int, *argv: str) -> None:
    """Run a program in the network namespace of a process."""
    run("nsenter", f"--net=/proc/{pid}/ns/net", *argv)


def build(pid: int, ident: str) -> int:
    """The bridge in the namespace of `pid`, with the API server's address, and the cable to this machine.

    Returns the third number of its 10.77.N.0/24. `ident`: labs of different names begin to look at different places.
    """
    subnet = _claim(pid, sum(ident.encode()) % SUBNETS)
    inside(pid, "ip", "link", "set", "lo", "up")
    # Of its own, or it takes the lowest of its cables', and changes when that host is cut off, and is not found for a while.
    inside(pid, "ip", "link", "add", BRIDGE, "address", HARDWARE, "type", "bridge")
    inside(pid, "ip", "address", "add", f"{server(subnet)}/24", "dev", BRIDGE)
    inside(pid, "ip", "link", "set", BRIDGE, "up")
    inside(pid, "ip", "link", "set", "machine", "master", BRIDGE, "up")
    run("ip", "address", "add", f"10.77.{subnet}.2/24", "dev", cable(subnet))
    run("ip", "link", "set", cable(subnet), "up")
    return subnet


def _claim(pid: int, first: int) -> int:
    """The name of the cable on this machine is the claim: the kernel makes it once."""
    for step in range(SUBNETS):
        number = (first + step) % SUBNETS + 1
        peer = ("peer", "name", "machine", "netns", str(pid))
        argv = ("ip", "link", "add", cable(number), "type", "veth", *peer)
        done = run(*argv, check=False)
        if done.returncode == 0:
            return number
        if "exists" not in done.stderr:
            raise LabError(f"{' '.join(argv)}: {done.stderr.strip()}")
    raise LabError(f"{SUBNETS} labs have a control plane here: take some down with `lab down`")


def wait_gone(subnet: int) -> None:
    """Return when the kernel has taken the cable away, a moment after the last process of the namespace."""
    wait_until(lambda: not Path("/sys/class/net", cable(subnet)).exists(), 20, cable(subnet))


def plug(pid: int, leader: int, subnet: int, number: int) -> None:
    """A cable from the bridge to eth0 of a host (its PID 1); again after each boot of the host."""
    name = f"h{number}"
    # There is none, but after a reboot whose old namespace still ends.
    run("nsenter", f"--net=/proc/{pid}/ns/net", "ip", "link", "delete", name, check=False)
    inside(pid, "ip", "link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", str(leader))  # fmt: skip
    inside(pid, "ip", "link", "set", name, "master", BRIDGE, "up")
    inside(leader, "ip", "address", "add", f"10.77.{subnet}.{10 + number}/24", "dev", "eth0")
    inside(leader, "ip", "link", "set", "eth0", "up")
    inside(leader, "ip", "link", "set", "lo", "up")


def server(subnet: int) -> str:
    """The address of the API server."""
    return f"10.77.{subnet}.1"


def cable(subnet: int) -> str:
    """The name of this machine's end of the cable."""
    return f"tl{subnet}"
