"""The process that becomes one of the control plane's: `python -m tests.lab.kubestarter LAB NAME`.

`holder` takes a network namespace of its own and sleeps; the others, also our controllers, enter it.
"""

from __future__ import annotations

import ctypes
import os
import sys
from typing import Final

from tests.lab import background, cgroups, controlplane, kubecontroller
from tests.lab.controlplane import ControlPlane
from tests.lab.machine import ENVIRONMENT
from tests.lab.state import LabState
from tests.lab.tools import which

CLONE_NEWNET: Final = 0x40000000
# Go collects its garbage seldom and shares no work out: two cores that several of these and the hosts share have none to
# spare for it. A tenth less of a start and a third less while idle (with the heartbeats of etcd), for up to 300 MB more.
FRUGAL: Final = {"GOGC": "1000", "GOMEMLIMIT": "400MiB", "GOMAXPROCS": "1"}


def main() -> None:
    """Go to the background, enter the cluster's cgroup and network, become the program."""
    plane, name = ControlPlane(LabState(sys.argv[1])), sys.argv[2]
    libc = ctypes.CDLL(None, use_errno=True)
    files = cgroups.make(plane.machine)
    if name == "holder":
        done = libc.unshare(CLONE_NEWNET)
    else:
        with open(f"/proc/{plane.holder}/ns/net") as namespace:
            done = libc.setns(namespace.fileno(), CLONE_NEWNET)
    if done != 0:
        raise OSError(ctypes.get_errno(), "network namespace")
    cgroups.join(files)
    background.detach(plane.log(name))
    if name.startswith(kubecontroller.PREFIX):
        command = kubecontroller.command(plane, name)
        environment = ENVIRONMENT | kubecontroller.environment()
    else:
        command, environment = controlplane.command(plane, name), ENVIRONMENT | FRUGAL
    os.execve(which(command[0]) or command[0], command, environment)


if __name__ == "__main__":
    main()
