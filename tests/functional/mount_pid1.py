"""Plays PID 1 for test_mount: run as the first process of PID and mount namespaces of its own, it does for the mount helpers
and the server what systemd does (sd_notify(3), FDSTORE, LISTEN_FDS), and prints what happened as JSON.

    unshare --mount --pid --fork --mount-proc python mount_pid1.py TAMBOURINE CONFIG MOUNTPOINT
"""

from __future__ import annotations

import array
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

TAMBOURINE, CONFIG, MOUNTPOINT = sys.argv[1:4]
# As systemd starts a sandboxed unit's processes: in a mount namespace of their own that follows ours, not the reverse.
SANDBOXED = ["unshare", "--mount", "--propagation", "slave"]
DEADLINE = 20.0


class Manager:
    """The receiving end of $NOTIFY_SOCKET, with a store of descriptors."""

    def __init__(self, place: str) -> None:
        self.messages: list[str] = []
        self.stored: list[int] = []
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._sock.bind(place)
        self._sock.settimeout(0.05)
        os.environ["NOTIFY_SOCKET"] = place

    def receive(self) -> None:
        try:
            data, control, _, _ = self._sock.recvmsg(65536, 4096)
        except TimeoutError:
            return
        fds = array.array("i")
        for _, _, payload in control:
            fds.frombytes(payload[: len(payload) - len(payload) % fds.itemsize])
        text = data.decode()
        self.messages.append(text)
        if "FDSTOREREMOVE=1" in text:
            self._close(self.stored)
        elif "FDSTORE=1" in text:
            self.stored += fds
        else:
            self._close(fds)  # BARRIER=1: closing is the answer

    def _close(self, fds: list[int] | array.array[int]) -> None:
        while fds:
            os.close(fds.pop())

    def run(self, *argv: str) -> int:
        """Run a helper as ExecStartPre=+ does, and serve it meanwhile; its exit status."""
        helper = subprocess.Popen([*SANDBOXED, *argv])
        end = time.monotonic() + DEADLINE
        while helper.poll() is None and time.monotonic() < end:
            self.receive()
        helper.kill()
        return helper.wait()

    def start(self) -> subprocess.Popen[bytes]:
        """Start the server with the stored descriptor, as systemd does; return when it has said READY."""
        assert len(self.stored) == 1, self.messages
        shell = 'exec env LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=silo "$@" 3<&"$FD"'
        fd = self.stored[0]
        os.environ["FD"] = str(fd)
        argv = [*SANDBOXED, "bash", "-c", shell, "-", TAMBOURINE, "silo", "--config", CONFIG]
        server = subprocess.Popen(argv, pass_fds=[fd])
        os.environ["MAINPID"] = str(server.pid)
        seen = len(self.messages)
        end = time.monotonic() + DEADLINE
        while not any("READY=1" in m for m in self.messages[seen:]) and time.monotonic() < end:
            assert server.poll() is None, "the server ended"
            self.receive()
        return server


def mounts() -> int:
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return sum(f" {MOUNTPOINT} " in line and "fuse.tambourine" in line for line in lines)


def main() -> None:
    manager = Manager(f"{os.path.dirname(CONFIG)}/notify")
    command = [TAMBOURINE]
    seen: dict[str, object] = {}
    seen["mount"] = manager.run(*command, "mount", "silo", "--config", CONFIG)
    seen["mounts here after mount"] = mounts()
    seen["stored"] = len(manager.stored)
    seen["said"] = [m.split("\n") for m in manager.messages]
    server = manager.start()
    seen["check"] = manager.run(*command, "mount", "--check", "silo", "--config", CONFIG)
    seen["id"] = Path(MOUNTPOINT, ".tambourine-silo").read_text()
    Path(MOUNTPOINT, "f").write_text("written from the namespace of PID 1")

    server.send_signal(signal.SIGKILL)
    server.wait()
    began = time.monotonic()
    seen["check of a dead one"] = manager.run(
        *command, "mount", "--check", "silo", "--config", CONFIG
    )
    seen["a dead one keeps it waiting"] = time.monotonic() - began > DEADLINE / 2
    seen["stored after that"] = len(manager.stored)
    seen["mount again"] = manager.run(*command, "mount", "silo", "--config", CONFIG)
    seen["mounts after a crash"] = mounts()
    seen["stored after a crash"] = len(manager.stored)
    server = manager.start()
    seen["read after a crash"] = Path(MOUNTPOINT, "f").read_text()

    server.terminate()
    seen["server's end"] = server.wait(DEADLINE)
    seen["mounts after its end"] = mounts()
    seen["unmount"] = manager.run(*command, "unmount", "silo", "--config", CONFIG)
    seen["mounts after unmount"] = mounts()
    seen["stored after unmount"] = len(manager.stored)
    seen["unmount of nothing"] = manager.run(*command, "unmount", "silo", "--config", CONFIG)
    seen["check of nothing"] = manager.run(*command, "mount", "--check", "silo", "--config", CONFIG)
    print(json.dumps(seen))


if __name__ == "__main__":
    main()
