"""A real Bombshell in a process of its own, over directories of a test."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import grpc
import pytest

from tambourinefs.model.paths import SILO_ID_FILE
from tambourinefs.rpc import pki, reach
from tambourinefs.rpc.client import SERVER_NAME, Client
from tambourinefs.rpc.io_pb2_grpc import BombshellStub
from tests.waiting import PATIENCE, until

TAMBOURINE = Path(sys.executable).with_name("tambourine")


def wait_until(holds: Callable[[], object], what: str, seconds: float = PATIENCE) -> None:
    """Poll closely: what is waited for comes within milliseconds."""
    until(holds, what, seconds=seconds, least=0.02)


class Running:
    """A Bombshell and its world: `silo`, `proc`, `pki` and `socket` lie in `home`."""

    def __init__(
        self,
        home: Path,
        *,
        plain: bool = True,
        silo: Path | None = None,
        proc: Path | None = None,
        **settings: float | str,
    ):
        self.home = home
        self.silo = silo or home / "silo"
        self.proc = proc or home / "proc"
        self.pki = home / "pki"
        self.socket = home / "b.sock"
        self.plain = plain
        self.flags: list[str] = []  # in place of the configuration
        self.process: subprocess.Popen[bytes] | None = None
        for directory in (home / "silo", home / "proc"):
            directory.mkdir()
        pki.init(self.pki, owners=pki.Owners())
        lines = [f"{key} = {value}" for key, value in settings.items()]
        (home / "config.toml").write_text(
            f"[silo]\nmountpoint = {str(self.silo)!r}\nstore = '/nowhere/store'\n"
            f"[proc]\nmountpoint = {str(self.proc)!r}\n"
            f"[bombshell]\nsocket = {str(self.socket)!r}\npki = {str(self.pki)!r}\n"
            + "\n".join(lines)
        )

    @property
    def log(self) -> str:
        """What it has logged so far."""
        return (self.home / "log").read_text()

    @property
    def argv(self) -> list[str]:
        return [str(TAMBOURINE), *(self.flags or self._by_configuration)]

    @property
    def _by_configuration(self) -> list[str]:
        plain = ["--plain"] if self.plain else []
        return ["bombshell", "--foreground", f"--config={self.home}/config.toml", *plain]

    def spawn(self) -> subprocess.Popen[bytes]:
        """Start a process, without waiting for it."""
        with (self.home / "log").open("ab") as log:
            return subprocess.Popen(
                self.argv,
                stderr=log,
                stdout=log,
                umask=0o077,
            )

    def start(self) -> None:
        """Start it and wait until it serves."""
        self.process = self.spawn()
        process = self.process
        wait_until(lambda: self.answers() or process.poll() is not None, "Bombshell answers")
        assert process.poll() is None, self.log

    def answers(self) -> bool:
        try:
            with self.client() as client:
                client.stat("proc", "no such file")
        except Exception as error:
            return type(error).__name__ == "NotFound" or "not mounted" in str(error)
        return True

    def kill(self, number: int = signal.SIGKILL) -> int:
        """Send a signal and wait for the end; the exit status."""
        assert self.process is not None
        self.process.send_signal(number)
        status = self.process.wait(30)
        self.process = None
        return status

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def threads(self) -> int:
        return len(os.listdir(f"/proc/{self.pid}/task"))

    def client(self, timeout: float = 30.0) -> Client:
        return Client(
            self.socket,
            self.pki / "ca.crt",
            self.pki / "client.crt",
            self.pki / "client.key",
            timeout,
        )

    def channel(self) -> grpc.Channel:
        """For what a well-meaning client does not do."""
        return reach.connect(
            str(self.socket),
            self.pki / "ca.crt",
            self.pki / "client.crt",
            self.pki / "client.key",
            server_name=SERVER_NAME,
        )

    def content(self) -> list[Path]:
        """What is in the silo, but for a real one's own file."""
        return [path for path in self.silo.iterdir() if path.name != SILO_ID_FILE]

    def temporaries(self) -> list[Path]:
        """Files of uploads that are not committed. find(1) goes as deep as a hostile client; pathlib does not."""
        found = subprocess.run(
            ["find", self.silo, "-name", ".bombshell-*"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        return [Path(os.fsdecode(line)) for line in found.stdout.splitlines()]

    def end(self) -> None:
        """It must end well; nothing of it stays."""
        try:
            if self.process is not None:
                assert self.kill(signal.SIGTERM) == 0, self.log
            assert "Traceback" not in self.log, self.log
        finally:
            if self.process is not None:
                self.kill()
            # What a hostile client made may be too deep for pytest's own cleaning.
            subprocess.run(["rm", "-rf", self.home / "silo"], check=True)

    def empty(self) -> None:
        """Nothing that a test made is in its volumes, for the next one."""
        with self.client() as client:
            for path in self.content():
                # Uploads that were broken off go by themselves.
                if not path.name.startswith(".bombshell-"):
                    client.remove("silo", os.fsencode(path.name), recursive=True)
        wait_until(lambda: not self.content(), "the silo is empty")
        for path in self.proc.iterdir() if self.plain else ():
            path.unlink()


@pytest.fixture
def bombshell_home(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """Where servers of one test live: on the disk, or (IN_MEMORY) in memory."""
    if not hasattr(request, "param"):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(prefix="tambourine-bombshell-", dir=request.param) as name:
        yield Path(name)


# For who makes tens of thousands of files and is not about disks. On an ext4 without a journal, as a machine's root may be,
# each new file looks at all inodes that were removed in the last minutes, those of labs that other lanes take down too.
IN_MEMORY = pytest.mark.parametrize("bombshell_home", ["/dev/shm"], indirect=True, ids=["memory"])


@pytest.fixture
def make_bombshell(bombshell_home: Path) -> Iterator[Callable[..., Running]]:
    """Makes servers; they are ended after the test, and each must end well."""
    made: list[Running] = []

    def make(**options: object) -> Running:
        home = bombshell_home / f"b{len(made)}"
        home.mkdir()
        running = Running(home, **options)  # type: ignore[arg-type]
        made.append(running)
        running.start()
        return running

    with ExitStack() as ending:
        yield make
        for running in made:
            ending.callback(running.end)


@contextmanager
def a_bombshell(home: Path, **options: object) -> Iterator[Running]:
    """One server for many tests."""
    running = Running(home, **options)  # type: ignore[arg-type]
    try:
        running.start()
        yield running
    finally:
        running.end()


@pytest.fixture(scope="module")
def shared_bombshell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One server over plain directories for a module's tests, none of which ends it or looks into its log."""
    with a_bombshell(tmp_path_factory.mktemp("shared")) as running:
        yield running


@pytest.fixture
def bombshell(make_bombshell: Callable[..., Running]) -> Running:
    """One server over plain directories."""
    return make_bombshell()


@pytest.fixture
def client(bombshell: Running) -> Iterator[Client]:
    """Its client."""
    with bombshell.client() as found:
        yield found


@pytest.fixture
def stub(bombshell: Running) -> Iterator[BombshellStub]:
    """Its raw stub."""
    with bombshell.channel() as channel:
        yield BombshellStub(channel)
