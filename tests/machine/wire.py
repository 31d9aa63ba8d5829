"""The wire into a machine: one ssh connection to its root, over which commands, files and sockets go."""

from __future__ import annotations

import shlex
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final

PROGRAM_DIES_WITH_US: Final = ("setpriv", "--pdeathsig", "KILL", "--")
ATTEMPT: Final = 600.0  # seconds; an emulated processor makes its keys slowly, and one that is shared waits for its turn
PAUSE: Final = 0.2


@dataclass
class Wire:
    """To the root of the machine whose ssh is at 127.0.0.1:port; `directory` holds the connection's own files."""

    identity: Path
    port: int
    directory: Path
    _master: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def _socket(self) -> Path:
        return self.directory / "wire"

    def _ssh(self, *options: str) -> list[str]:
        settings = (
            "BatchMode=yes",
            "IdentitiesOnly=yes",
            "StrictHostKeyChecking=accept-new",
            f"UserKnownHostsFile={self.directory / 'known'}",
            "HostKeyAlias=machine",
            "KexAlgorithms=curve25519-sha256",
            f"ConnectTimeout={ATTEMPT:.0f}",
            "ServerAliveInterval=60",
            "ServerAliveCountMax=10",
            f"ControlPath={self._socket}",
            "StreamLocalBindUnlink=yes",
            "LogLevel=ERROR",
        )
        named = [word for setting in settings for word in ("-o", setting)]
        place = ("-i", str(self.identity), "-p", str(self.port), "root@127.0.0.1")
        return ["ssh", "-F", "none", *named, *options, *place]

    def connect(self) -> bool:
        """One attempt; False when there is no answer yet."""
        self.close()
        master = subprocess.Popen(
            [*PROGRAM_DIES_WITH_US, *self._ssh("-N", "-o", "ControlMaster=yes")],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + ATTEMPT
        while time.monotonic() < deadline and master.poll() is None:
            if self._socket.exists():
                self._master = master
                return True
            time.sleep(PAUSE)
        _end(master)
        return False

    def close(self) -> None:
        """The connection, and what was forwarded over it, ends; the machine does not notice more than that."""
        if self._master is not None:
            _end(self._master)
            self._master = None
        self._socket.unlink(missing_ok=True)

    def processes(self) -> set[int]:
        """What runs here for the connection."""
        return set() if self._master is None else {self._master.pid}

    def command(self, argv: list[str], *, terminal: bool = False) -> list[str]:
        """The command line here that runs argv there."""
        # No words: a login shell. ssh hands one string to a shell there, whatever it is given.
        return [*self._ssh("-tt" if terminal else "-T"), *([shlex.join(argv)] if argv else [])]

    def popen(
        self, argv: list[str], stdin: int | IO[bytes] = subprocess.DEVNULL
    ) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*PROGRAM_DIES_WITH_US, *self.command(argv)],
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="surrogateescape",
        )

    def forward(self, here: Path, there: str) -> None:
        """A Unix socket here that leads to one there, for as long as the connection stands."""
        asked = self._ssh("-O", "forward", "-L", f"{here}:{there}")
        subprocess.run(asked, check=True, stdin=subprocess.DEVNULL, capture_output=True, text=True)

    def send(self, paths: list[Path], there: str, *, base: Path) -> None:
        """Copy files and directories, as they are named below `base`, into a directory there. Owners become root."""
        names = [str(path.relative_to(base)) for path in paths]
        packed = [
            "tar",
            "-C",
            str(base),
            "--owner=0",
            "--group=0",
            "--exclude=__pycache__",
            "-cf",
            "-",
            "--",
            *names,
        ]
        script = 'mkdir -p "$0" && tar -C "$0" --no-same-owner -xf -'
        with subprocess.Popen(packed, stdout=subprocess.PIPE) as tar:
            process = self.popen(
                ["sh", "-c", script, there], stdin=tar.stdout or subprocess.DEVNULL
            )
            _, err = process.communicate()
        if tar.returncode or process.returncode:
            raise OSError(f"copying {', '.join(names)} to {there}: {err.strip()}")


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


def free_port() -> int:
    """A free TCP port of 127.0.0.1."""
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])
