"""Asks another program, with a deadline: the answer, or that none came.

A process that waits for a FUSE server that read its request and never answers cannot be killed. It is given up, and whoever
asked goes on. Answers go into memory files, not pipes: nobody waits for their end, and a full disk does not matter.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from typing import Final

SECONDS: Final = 8.0  # a host may be so busy that a program takes seconds to start
MAX_ANSWER: Final = 32 << 20  # bytes
MISSING: Final = 127  # as a shell says that there is no such program
_AFTER_KILL: Final = 0.5
_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_ENVIRONMENT: Final = {
    "PATH": _PATH,
    "LC_ALL": "C.UTF-8",
    "SYSTEMD_COLORS": "0",
    "SYSTEMD_PAGER": "",
}
# What a file system says of itself (statvfs(3)), or the number of the error.
_STATVFS: Final = (
    "import os, sys\n"
    "try: v = os.statvfs(sys.argv[1])\n"
    "except OSError as e: print('errno', e.errno)\n"
    "else: print('space', v.f_frsize, v.f_blocks, v.f_bavail, v.f_files, v.f_favail, v.f_flag)\n"
)

_abandoned: Final[list[subprocess.Popen[bytes]]] = []


@dataclass(frozen=True, slots=True)
class Answer:
    """`status` is the program's exit status, negative for a signal; None: it did not end in time."""

    status: int | None
    out: str = ""
    err: str = ""

    @property
    def good(self) -> bool:
        return self.status == 0

    @property
    def complaint(self) -> str:
        """Its last word, in one line."""
        if self.status is None:
            return "no answer in time"
        lines = (self.err or self.out).strip().splitlines()
        return lines[-1].strip() if lines else f"exit status {self.status}"


@dataclass(frozen=True, slots=True)
class Space:
    """What statvfs(3) says of a file system. Sizes in bytes; `available` to the caller."""

    size: int
    available: int
    files: int
    files_available: int
    read_only: bool


def ask(*argv: str, seconds: float = SECONDS) -> Answer:
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
            return Answer(MISSING, "", f"{argv[0]}: {error.strerror}")
        try:
            status: int | None = child.wait(seconds)
        except subprocess.TimeoutExpired:
            status = None
            _give_up(child)
        out.seek(0)
        err.seek(0)
        said, complained = out.read(MAX_ANSWER), err.read(MAX_ANSWER)
    return Answer(status, said.decode(errors="replace"), complained.decode(errors="replace"))


def _give_up(child: subprocess.Popen[bytes]) -> None:
    child.kill()
    try:
        child.wait(_AFTER_KILL)
    except subprocess.TimeoutExpired:
        _abandoned.append(child)  # init's, when its request is answered or its mount goes


def read(path: str, *, most: int = MAX_ANSWER) -> Answer:
    """The beginning of a file that may lie on a dead mount."""
    return ask("head", f"--bytes={most}", "--", path)


def space(path: str) -> Space | int | None:
    """What the file system at `path` says of itself, the number of its error, or None where no answer came in time."""
    answer = ask(sys.executable, "-I", "-S", "-c", _STATVFS, path)
    words = answer.out.split()
    if not answer.good or not words:
        return None
    numbers = [int(word) for word in words[1:]]
    if words[0] == "errno":
        return numbers[0]
    unit, blocks, available, files, files_available, flags = numbers
    read_only = bool(flags & os.ST_RDONLY)
    return Space(unit * blocks, unit * available, files, files_available, read_only)
