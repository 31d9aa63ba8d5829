"""Runs commands with a deadline.

A process that waits for a FUSE server which does not answer cannot be killed: it is abandoned, and
the caller goes on. Output goes to memory files, not pipes: reading it does not wait for the process,
and it does not need space on a disk.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from typing import Final

SECONDS: Final = 8.0  # on a busy host a program may take seconds to start
MAX_OUTPUT: Final = 32 << 20  # bytes
NOT_FOUND: Final = 127  # a shell's exit status for a missing program
_AFTER_KILL: Final = 0.5
_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_ENVIRONMENT: Final = {
    "PATH": _PATH,
    "LC_ALL": "C.UTF-8",
    "SYSTEMD_COLORS": "0",
    "SYSTEMD_PAGER": "",
}
_STATVFS: Final = (
    "import os, sys\n"
    "try: v = os.statvfs(sys.argv[1])\n"
    "except OSError as e: print('errno', e.errno)\n"
    "else: print('space', v.f_frsize, v.f_blocks, v.f_bavail, v.f_files, v.f_favail, v.f_flag)\n"
)

_abandoned: Final[list[subprocess.Popen[bytes]]] = []


@dataclass(frozen=True, slots=True)
class CommandResult:
    """`returncode` is negative for a signal, None where the program did not end in time."""

    returncode: int | None
    stdout: str = ""
    stderr: str = ""

    @property
    def succeeded(self) -> bool:
        return self.returncode == 0

    @property
    def error(self) -> str:
        """The last line of its output, or why there is none."""
        if self.returncode is None:
            return "no answer in time"
        lines = (self.stderr or self.stdout).strip().splitlines()
        return lines[-1].strip() if lines else f"exit status {self.returncode}"


@dataclass(frozen=True, slots=True)
class FilesystemUsage:
    """The result of statvfs(3). Sizes in bytes; `available` to the caller."""

    size: int
    available: int
    files: int
    files_available: int
    read_only: bool


def run(*argv: str, seconds: float = SECONDS) -> CommandResult:
    """Run a program for at most so many seconds."""
    with os.fdopen(os.memfd_create("out"), "r+b") as out, os.fdopen(os.memfd_create("err"), "r+b") as err:  # fmt: skip
        try:
            child = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                cwd="/",
                env=_ENVIRONMENT,
                start_new_session=True,
            )
        except OSError as error:
            return CommandResult(NOT_FOUND, "", f"{argv[0]}: {error.strerror}")
        try:
            returncode: int | None = child.wait(seconds)
        except subprocess.TimeoutExpired:
            returncode = None
            _abandon(child)
        out.seek(0)
        err.seek(0)
        stdout, stderr = out.read(MAX_OUTPUT), err.read(MAX_OUTPUT)
    return CommandResult(
        returncode, stdout.decode(errors="replace"), stderr.decode(errors="replace")
    )


def _abandon(child: subprocess.Popen[bytes]) -> None:
    child.kill()
    try:
        child.wait(_AFTER_KILL)
    except subprocess.TimeoutExpired:
        # PID 1 reaps it when its request is answered or its mount goes away.
        _abandoned.append(child)


def read_file(path: str, *, most: int = MAX_OUTPUT) -> CommandResult:
    """The first bytes of a file whose mount may be dead."""
    return run("head", f"--bytes={most}", "--", path)


def statvfs(path: str) -> FilesystemUsage | int | None:
    """statvfs(3) of `path`, an errno, or None where no answer came in time."""
    result = run(sys.executable, "-I", "-S", "-c", _STATVFS, path)
    words = result.stdout.split()
    if not result.succeeded or not words:
        return None
    numbers = [int(word) for word in words[1:]]
    if words[0] == "errno":
        return numbers[0]
    unit, blocks, available, files, files_available, flags = numbers
    read_only = bool(flags & os.ST_RDONLY)
    return FilesystemUsage(unit * blocks, unit * available, files, files_available, read_only)
