"""Each daemon tells systemd's watchdog that it lives, while it does its work and no longer."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from tests.functional.bombshells import Running
from tests.functional.silo_host import SiloHost
from tests.waiting import PATIENCE

HANGABLE = Path(__file__).with_name("hangable.py")
USEC = 200_000  # WatchdogSec=; a sign comes twice as often


class Manager:
    """The receiving end of $NOTIFY_SOCKET, as systemd is."""

    def __init__(self, directory: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(directory / "notify"))
        self.environment = {
            **os.environ, "NOTIFY_SOCKET": str(directory / "notify"), "WATCHDOG_USEC": str(USEC),
        }  # fmt: skip

    def hears(self, wanted: str, seconds: float) -> bool:
        """Whether that comes within so many seconds."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._socket.settimeout(left)
            try:
                if wanted in self._socket.recv(4096).decode().splitlines():
                    return True
            except TimeoutError:
                break
        return False

    def forget(self) -> None:
        """What came so far does not count."""
        self._socket.setblocking(False)
        try:
            while True:
                self._socket.recv(4096)
        except BlockingIOError:
            pass

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def manager(disk_directory: Path) -> Iterator[Manager]:
    made = Manager(disk_directory)
    yield made
    made.close()


@pytest.fixture
def start(
    manager: Manager, disk_directory: Path
) -> Iterator[Callable[[Sequence[str]], subprocess.Popen[bytes]]]:
    """Starts a daemon by its arguments and waits for READY; it must end well after."""
    go_on, started = disk_directory / "go on", []

    def begin(arguments: Sequence[str]) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, HANGABLE, go_on, *arguments], env=manager.environment
        )
        started.append(process)
        assert manager.hears("READY=1", PATIENCE)
        return process

    yield begin
    go_on.touch()
    for process in started:
        process.terminate()
        assert process.wait(PATIENCE) == 0


def silo(directory: Path) -> list[str]:
    host = SiloHost(directory)
    return host.argv[len(host._program) :]


def bombshell(directory: Path) -> list[str]:
    return Running(directory).argv[1:]


def agent(directory: Path) -> list[str]:
    (directory / "silo").mkdir()
    return [
        "agent", "--foreground", "--plain", "--config=/nonexistent/config.toml", f"--silo={directory}/silo",
        f"--proc={directory}/proc", f"--state={directory}/state",
    ]  # fmt: skip


@pytest.mark.parametrize("daemon", [silo, bombshell, agent])
def test_it_lives_until_its_loop_hangs(
    daemon: Callable[[Path], list[str]],
    manager: Manager,
    start: Callable[[Sequence[str]], subprocess.Popen[bytes]],
    disk_directory: Path,
) -> None:
    process = start(daemon(disk_directory))
    for _ in range(5):
        assert manager.hears("WATCHDOG=1", PATIENCE)
    process.send_signal(signal.SIGUSR1)
    manager.hears("WATCHDOG=1", USEC / 1e6)  # one may have been under way
    manager.forget()
    assert not manager.hears("WATCHDOG=1", 5 * USEC / 1e6)
    assert process.poll() is None
    (disk_directory / "go on").touch()
    assert manager.hears("WATCHDOG=1", PATIENCE)


def test_unreachable_bombshell_ends(manager: Manager, disk_directory: Path) -> None:
    """Its loop runs; it looks at itself as a client does."""
    running = Running(disk_directory)
    with (disk_directory / "log").open("wb") as log:
        process = subprocess.Popen(running.argv, stderr=log, env=manager.environment)
    assert manager.hears("READY=1", PATIENCE)
    assert manager.hears("WATCHDOG=1", PATIENCE)
    running.socket.unlink()
    assert process.wait(PATIENCE) == 1
    assert "Bombshell does not answer" in running.log


@pytest.mark.parametrize("watched", [False, True])
def test_no_watchdog_notifications_without_a_watchdog(
    manager: Manager, disk_directory: Path, watched: bool
) -> None:
    """No WatchdogSec= in the unit, or the sign is another process's to give (sd_watchdog_enabled(3))."""
    if watched:
        manager.environment["WATCHDOG_PID"] = "1"
    else:
        del manager.environment["WATCHDOG_USEC"]
    process = subprocess.Popen(
        [sys.executable, "-m", "tambourinefs.cli.main", *silo(disk_directory)],
        env=manager.environment,
    )
    assert manager.hears("READY=1", PATIENCE)
    assert not manager.hears("WATCHDOG=1", 3 * USEC / 1e6)
    process.terminate()
    assert process.wait(PATIENCE) == 0
