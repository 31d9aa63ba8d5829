"""The process that becomes a host's nspawn: `python -m tests.lab.starter LAB HOST`; prints its pid when it is on its way.

It takes a mount and a network namespace of its own before it mounts anything. So the machine never sees a mount of
the lab, no other host inherits one (it would keep the disk of a crashed host alive), and all of them end with the host.
"""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path
from typing import Final

from tests.lab import background, cgroups, tree
from tests.lab.machine import ENVIRONMENT
from tests.lab.state import HostState, LabState
from tests.lab.tools import run, which

CLONE_NEWNS: Final = 0x00020000  # linux/sched.h
CLONE_NEWNET: Final = 0x40000000
# What nspawn keeps from a container and a machine has: programs in the kernel, file handles, and the keyrings that
# container runtimes make.
CALLS: Final = "bpf open_by_handle_at add_key keyctl request_key"


def main() -> None:
    """Go to the background, prepare, become nspawn. What fails is said in the host's console log."""
    host = HostState(LabState(sys.argv[1]), sys.argv[2])
    background.detach(host.console)
    cgroups.join(cgroups.make(host.machine))  # before nspawn makes its cgroup namespace
    _leave_namespaces()
    # nspawn leaves locks and a directory there when it is killed; in here they end with it.
    Path("/run/systemd/nspawn").mkdir(parents=True, exist_ok=True)
    run("mount", "-t", "tmpfs", "tambourine-lab", "/run/systemd/nspawn")
    tree.mount(host)
    command = _nspawn(host)
    os.execve(command[0], command, ENVIRONMENT)


def _leave_namespaces() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS | CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    run("mount", "--make-rprivate", "/")


def _nspawn(host: HostState) -> list[str]:
    """All capabilities, as PID 1 of a machine has them; a console that is a file."""
    return [
        which("systemd-nspawn") or "systemd-nspawn",
        "--quiet", f"--directory={host.root}", f"--machine={host.machine}", f"--hostname={host.name}",
        "--register=no", "--keep-unit", "--console=pipe", "--link-journal=no", "--resolv-conf=off", "--timezone=off",
        "--capability=all", f"--system-call-filter={CALLS}", "--kill-signal=SIGRTMIN+4",
        "--network-namespace-path=/proc/self/ns/net", *tree.binds(host),
        tree.INIT_PATH,
    ]  # fmt: skip


if __name__ == "__main__":
    main()
