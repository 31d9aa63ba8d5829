"""A whole Debian machine under QEMU: its own kernel, its own disk, its own power switch."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TextIO

from tests.lab.tools import LabError, say, which
from tests.machine import place, qemu
from tests.machine.image import Image
from tests.machine.wire import PROGRAM_DIES_WITH_US, Wire, free_port

PREFIX: Final = "tambourine-machine-"
BOOT: Final = (
    1800.0  # seconds; a minute or two alone, much more where others work on the same cores
)
ACCEL: Final = "TAMBOURINE_MACHINE_ACCEL"  # "kvm" for a person who knows that it works here


class CommandFailed(AssertionError):  # noqa: N818 (it is what a test failed with)
    """A command in the machine ended with another status than 0; the message has what it printed."""


class Machine:
    """One machine and its disk; `created` makes it. It is off until `start`."""

    def __init__(self, image: Image, directory: Path) -> None:
        self.image = image
        self.directory = directory
        self.console = directory / "console.log"
        self.boots: list[float] = []  # seconds that each took
        self._overlay = directory / "disk.qcow2"
        self._qemu: subprocess.Popen[bytes] | None = None
        self._wire = Wire(image.identity, free_port(), directory)
        base = ["-b", str(image.disk), "-F", "raw"]
        _checked(
            [
                which("qemu-img") or "qemu-img",
                "create",
                "-q",
                "-f",
                "qcow2",
                *base,
                str(self._overlay),
            ]
        )

    # -- power

    def start(self, append: str = "") -> None:
        """Switch it on and wait until systemd says that the boot is over; `append` goes to the kernel's command line.

        Raises LabError with the console's end when it does not come, or comes with failed units.
        """
        assert self._qemu is None, "the machine is on"
        began = time.monotonic()
        say(
            f"machine: boot {len(self.boots) + 1}{' with ' + append if append else ''}: about a minute …"
        )
        self._wire.port = free_port()
        command = qemu.command(
            kernel=self.image.kernel,
            initrd=self.image.initrd,
            append=append,
            overlay=self._overlay,
            console=self.console,
            port=self._wire.port,
            accel=os.environ.get(ACCEL) or "tcg",
        )
        with (self.directory / "qemu.log").open("ab") as log:
            self._qemu = subprocess.Popen(
                [*PROGRAM_DIES_WITH_US, *command], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        try:
            self._wait_booted(began + BOOT)
        except BaseException:
            self.cut_power()
            raise
        self.boots.append(time.monotonic() - began)
        say(f"machine: up after {self.boots[-1]:.0f} s")

    def _wait_booted(self, deadline: float) -> None:
        while not self._wire.connect():
            if not self.on or time.monotonic() > deadline:
                raise LabError(f"the machine did not boot; its console ends:\n{self.console_end()}")
        self.wait_up(deadline - time.monotonic())

    def wait_up(self, seconds: float = BOOT) -> None:
        """Return when every job of the boot is done; LabError when a unit failed in it."""
        said = self.run(
            "systemctl", "is-system-running", "--wait", check=False, timeout=max(seconds, 1)
        ).stdout.strip()
        if said != "running":
            failed = self.run("systemctl", "--failed", "--no-legend", "--plain", check=False).stdout
            raise LabError(f"the machine is {said}: {failed}{self.console_end()}")

    @property
    def on(self) -> bool:
        """Whether it has power and has not switched itself off."""
        return self._qemu is not None and self._qemu.poll() is None

    def cut_power(self) -> None:
        """QEMU is killed: what the machine did not write to its disk is lost."""
        if self._qemu is not None:
            self._qemu.kill()
            self._qemu.wait()
            self._qemu = None
        self._wire.close()

    def stop(self, how: str = "poweroff") -> None:
        """Shut it down in order, and wait until it is off. Raises LabError when it does not go down in time."""
        assert self._qemu is not None, "the machine is off"
        say("machine: shutting down …")
        self.run("systemctl", "--no-block", how, check=False)
        try:
            self._qemu.wait(BOOT)
        except subprocess.TimeoutExpired:
            raise LabError(
                f"the machine does not go down; its console ends:\n{self.console_end()}"
            ) from None
        finally:
            self.cut_power()

    def reboot(self, append: str = "") -> None:
        """`systemctl reboot`, and up again: QEMU ends at the reset, so that the kernel's command line may be another."""
        self.stop("reboot")
        self.start(append)

    def console_end(self) -> str:
        """The last lines of the serial console."""
        text = self.console.read_text(errors="replace") if self.console.exists() else ""
        log = (self.directory / "qemu.log").read_text(errors="replace")
        return f"{text[-3000:]}\n{log[-1000:]}".strip()

    # -- what is done on it

    def run(
        self,
        *argv: str,
        input: str | None = None,  # noqa: A002 (as subprocess names it)
        check: bool = True,
        timeout: float = 300,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command there as root; CommandFailed when check and its status is not 0 (255: the wire broke)."""
        process = self._wire.popen(list(argv), stdin=subprocess.PIPE)
        try:
            out, err = process.communicate(input or "", timeout=timeout)
        except BaseException:
            process.kill()
            process.communicate()
            raise
        done = subprocess.CompletedProcess(list(argv), process.returncode, out, err)
        if check and done.returncode != 0:
            raise CommandFailed(
                f"machine: {' '.join(argv)}: status {done.returncode}\n{out}{err}".rstrip()
            )
        return done

    def popen(self, *argv: str) -> subprocess.Popen[str]:
        """Start a command there; its end is the returned process's end."""
        return self._wire.popen(list(argv))

    def shell(self) -> int:
        """A login shell for the person at this terminal; its exit status."""
        return subprocess.call(self._wire.command([], terminal=True))

    def send(self, *paths: Path, to: str, base: Path) -> None:
        """Copy files and directories there, as they are named below `base`."""
        self._wire.send(list(paths), to, base=base)

    def forward(self, here: Path, there: str) -> None:
        """A Unix socket here that leads to one there; until the machine goes off."""
        self._wire.forward(here, there)

    def processes(self) -> set[int]:
        """What runs here because the machine is on."""
        return self._wire.processes() | ({self._qemu.pid} if self._qemu is not None else set())


@contextmanager
def created(image: Image) -> Iterator[Machine]:
    """A machine with an empty overlay over the image; afterwards it is off and nothing of it is left.

    Ended with -9 we leave a directory: the next one removes it. QEMU itself ends with us in any case.
    """
    _sweep()
    directory = Path(tempfile.mkdtemp(prefix=PREFIX, dir=place.for_overlays()))
    lock = _locked(directory)
    assert lock is not None
    machine = Machine(image, directory)
    try:
        yield machine
    finally:
        machine.cut_power()
        shutil.rmtree(directory)
        lock.close()


def _locked(directory: Path) -> TextIO | None:
    """The lock of who uses the directory, or None when another has it."""
    file = (directory / "lock").open("a")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file


def _sweep() -> None:
    """Remove what killed runs left: their lock is free. One that is being made has none yet, and is young."""
    for directory in [*place.MEMORY.glob(f"{PREFIX}*"), *place.DISK.glob(f"{PREFIX}*")]:
        young = time.time() - directory.stat().st_mtime < 60
        if not young and (lock := _locked(directory)) is not None:
            shutil.rmtree(directory, ignore_errors=True)
            lock.close()


def _checked(argv: list[str]) -> None:
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode != 0:
        raise LabError(f"{argv[0]}: {done.stderr.strip()}")
