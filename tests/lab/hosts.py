"""What tests do with a host of the lab."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.lab import lab, machine
from tests.lab.state import HostState


class CommandFailed(AssertionError):  # noqa: N818 (it is what a test failed with)
    """A command inside a host ended with another status than 0; the message has what it printed."""


@dataclass(frozen=True)
class Host:
    """One real systemd machine. All paths that commands get are the host's own."""

    state: HostState

    @property
    def name(self) -> str:
        return self.state.name

    @property
    def leader(self) -> int:
        """The host's PID 1, as a pid of this machine; another one after each boot."""
        return self.state.leader().pid

    @property
    def root(self) -> Path:
        """The host's root seen from here, in PID 1's mount namespace; another path after each boot.

        An absolute symbolic link in it leads to this machine's files: read such files with `run("cat", …)`.
        """
        return Path(f"/proc/{self.leader}/root")

    def run(
        self,
        *argv: str,
        input: str | None = None,  # noqa: A002 (as subprocess names it)
        check: bool = True,
        timeout: float = 60,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command inside as root and wait for it; CommandFailed when check and its status is not 0.

        After `timeout` seconds it is killed and subprocess.TimeoutExpired raised.
        """
        process = self.popen(*argv, stdin=subprocess.PIPE)
        try:
            out, err = process.communicate(input or "", timeout=timeout)
        except BaseException:
            self._kill(process)
            raise
        done = subprocess.CompletedProcess(list(argv), process.returncode, out, err)
        if check and done.returncode != 0:
            raise CommandFailed(
                f"{self.name}: {' '.join(argv)}: status {done.returncode}\n{out}{err}".rstrip()
            )
        return done

    def popen(
        self,
        *argv: str,
        stdin: int = subprocess.DEVNULL,
        stdout: int = subprocess.PIPE,
        stderr: int = subprocess.PIPE,
    ) -> subprocess.Popen[str]:
        """Start a command inside; it gets SIGKILL when the returned process ends (kill() reaches it through that)."""
        return subprocess.Popen(
            machine.command(self.state, list(argv)),
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            text=True,
            errors="surrogateescape",
            env=machine.ENVIRONMENT,
        )

    @staticmethod
    def _kill(process: subprocess.Popen[str]) -> None:
        """End it; what it left behind may hold its pipes, so do not wait for their end for ever."""
        process.kill()
        try:
            process.communicate(timeout=2)
        except subprocess.TimeoutExpired:
            for pipe in (process.stdin, process.stdout, process.stderr):
                if pipe is not None:
                    pipe.close()

    def stop(self) -> None:
        """Power off in order."""
        with self.state.lab.lock():
            machine.stop(self.state)

    def crash(self) -> None:
        """A power cut: what was not fsynced to /etc or /var is lost; the host is off afterwards."""
        with self.state.lab.lock():
            machine.crash(self.state)

    def start(self) -> None:
        """Boot a host that is off, and wait until systemd says `running`."""
        with self.state.lab.lock():
            machine.start(self.state)
            machine.wait_booted(self.state)
            lab.plug(self.state)

    def reboot(self) -> None:
        """Power off in order, and boot."""
        self.stop()
        self.start()
