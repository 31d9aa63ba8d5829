"""A silo to test: the real command in a process of its own, on a real mount, over a store on this machine's disk."""

from __future__ import annotations

import errno
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tambourinefs.mount import mounts
from tests import waiting
from tests.waiting import PATIENCE

TAMBOURINE = Path(sys.executable).parent / "tambourine"
NAMES = {**errno.errorcode, errno.EOPNOTSUPP: "EOPNOTSUPP"}  # the same number as ENOTSUP


def wait_for(what: str, condition: Callable[[], bool], seconds: float = PATIENCE) -> None:
    """Wait until `condition()` holds; the test fails with `what` after so many seconds."""
    waiting.until(condition, what, seconds=seconds, least=0.005)


class SiloHost:
    """A store, a mountpoint and the server between them."""

    def __init__(
        self,
        directory: Path,
        *,
        store: Path | None = None,
        writers: Sequence[str] = ("any",),
        quota_bytes: str = "none",
        quota_files: str = "none",
        program: Sequence[str] = (str(TAMBOURINE),),
    ) -> None:
        self._program = program
        self.store = store or directory / "store"
        self.tree = self.store / "tree"
        self.mount = directory / "mount"
        self.log = directory / "silo.log"
        self._flags = [f"--writers={name}" for name in writers]
        self._flags += [f"--quota-bytes={quota_bytes}", f"--quota-files={quota_files}"]
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def argv(self) -> list[str]:
        return [
            *(*self._program, "silo", "--foreground", "--config=/nonexistent/config.toml"),
            *(f"--store={self.store}", f"--mountpoint={self.mount}", *self._flags),
        ]

    def start(self, *flags: str) -> SiloHost:
        """Start the server and wait until it serves."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen([*self.argv, *flags], stderr=log)
        wait_for("the silo to serve", self._serving)
        return self

    def _serving(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, f"the silo ended:\n{self.log.read_text()}"
        said = self.log.read_text()[self._seen :]
        return (
            re.search(rf": serving .* at {re.escape(str(self.mount))}$", said, re.MULTILINE)
            is not None
        )

    _seen = 0

    def stop(self) -> int:
        """SIGTERM; its exit status."""
        assert self.process is not None
        self.process.terminate()
        status = self.process.wait(PATIENCE)
        self._ended()
        return status

    def kill(self) -> None:
        """kill -9: the mount stays, dead."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(PATIENCE)
        self._ended()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """SIGSTOP while inside. It is sent to a process that may run: until it has stopped it may still answer."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)
        try:
            os.waitid(os.P_PID, self.process.pid, os.WSTOPPED | os.WNOWAIT)
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    def _ended(self) -> None:
        self.process = None
        self._seen = len(self.log.read_text())

    @property
    def mounted(self) -> bool:
        return mounts.find(self.mount) is not None

    def close(self) -> None:
        """Leave nothing behind, and say so if the server complained of something that it did not expect."""
        if self.process is not None and self.process.poll() is None:
            try:
                self.stop()
            except subprocess.TimeoutExpired:
                self.kill()
                raise
        while mounts.detach(self.mount):
            pass
        log = self.log.read_text() if self.log.exists() else ""
        assert "Traceback" not in log, log

    def writer(self, user: int) -> Callable[..., subprocess.CompletedProcess[str]]:
        """Runs Python code as that user, with that user's group alone; its output, errors as errno names."""

        def run(code: str, *args: str) -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                ["/usr/bin/python3", "-I", "-c", _PRELUDE + code, *args],
                user=user,
                group=user,
                extra_groups=[],
                capture_output=True,
                text=True,
                timeout=60,
                cwd="/",
                umask=0o022,
            )

        return run


_PRELUDE = """
import os, sys, errno
def attempt(call, *args, **kwargs):
    try:
        call(*args, **kwargs)
    except OSError as error:
        print(errno.errorcode[error.errno])
    else:
        print('done')
"""


def errno_of(call: Callable[..., object], *args: object, **kwargs: object) -> str:
    """The name of the errno that the call fails with, "done" where it does not."""
    try:
        call(*args, **kwargs)
    except OSError as error:
        return NAMES[error.errno or 0]
    return "done"


@pytest.fixture
def disk_directory() -> Iterator[Path]:
    """A new directory on this machine's disk that any user may enter (pytest's own are 0700)."""
    with tempfile.TemporaryDirectory(prefix="tambourine-silo-", dir="/var/tmp") as name:
        directory = Path(name)
        directory.chmod(0o755)
        yield directory


@pytest.fixture
def make_silo(disk_directory: Path) -> Iterator[Callable[..., SiloHost]]:
    """Makes silos, started with the given SiloHost arguments; all are gone after the test."""
    made: list[SiloHost] = []

    def make(**how: Any) -> SiloHost:
        directory = disk_directory / str(len(made))
        directory.mkdir()
        host = SiloHost(directory, **how)
        made.append(host)
        return host.start()

    try:
        yield make
    finally:
        for host in made:
            host.close()


@pytest.fixture(scope="module")
def shared_silo() -> Iterator[SiloHost]:
    """One silo for a module's tests that do not disturb each other."""
    with tempfile.TemporaryDirectory(prefix="tambourine-silo-", dir="/var/tmp") as name:
        Path(name).chmod(0o755)
        host = SiloHost(Path(name))
        try:
            yield host.start()
        finally:
            host.close()


@pytest.fixture
def silo(shared_silo: SiloHost, request: pytest.FixtureRequest) -> Path:
    """A directory of this test's own on the shared silo."""
    directory = shared_silo.mount / re.sub(r"[^A-Za-z0-9_]", "-", request.node.name)[:200]
    directory.mkdir()
    return directory
