"""What exists now that a test could leave behind: processes, mounts, threads, descriptors."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# In the environment of all that a test starts: finds processes again that have lost their parent.
MARK = "TAMBOURINE_TEST_RUN"
# trio keeps idle worker threads for ten seconds, grpc and concurrent.futures theirs while the interpreter lives.
KEPT_THREADS = re.compile(r"Trio|ThreadPoolExecutor|writer_|asyncio|pytest|Dummy")


@dataclass(frozen=True)
class Left:
    """What exists now that a test could leave behind."""

    processes: frozenset[str]
    mounts: frozenset[str]
    threads: frozenset[str]
    files: frozenset[str]

    @classmethod
    def now(cls, below: Path, *, everywhere: bool) -> Left:
        return cls(
            frozenset(_processes(everywhere=everywhere)),
            frozenset(_mounts(below)),
            frozenset(_threads()),
            frozenset(_files(below)),
        )

    def beyond(self, before: Left, known: set[int] | None = None) -> list[str]:
        """One line for each thing that is new since `before`, but for the processes that are known."""
        prefixes = tuple(f"{pid} " for pid in known or ())
        return [
            f"{kind}: {thing}"
            for kind in ("processes", "mounts", "threads", "files")
            for thing in sorted(getattr(self, kind) - getattr(before, kind))
            if not (kind == "processes" and thing.startswith(prefixes))
        ]


def _processes(*, everywhere: bool) -> Iterator[str]:
    """Our children, and wherever they went what has our mark (that reads the environment of all processes)."""
    me = os.getpid()
    pids = {
        pid
        for task in os.listdir("/proc/self/task")
        for pid in _text(f"/proc/self/task/{task}/children").split()
    }
    if everywhere:
        pids |= _marked(f"{MARK}={me}")
    for pid in pids - {str(me)}:
        state = _text(f"/proc/{pid}/stat").rpartition(")")[2].split()[:1]
        if state and state[0] not in "ZX":
            yield f"{pid} {_text(f'/proc/{pid}/cmdline').replace(chr(0), ' ')}"


# Pids without the mark, which cannot get it later: it is inherited.
_FOREIGN: set[str] = set()


def _marked(mark: str) -> set[str]:
    """Who has the mark. Each process is asked once: in a whole run there are hundreds, and two looks for each test."""
    there = set(filter(str.isdecimal, os.listdir("/proc")))
    _FOREIGN.intersection_update(there)
    found = {pid for pid in there - _FOREIGN if mark in _text(f"/proc/{pid}/environ").split("\0")}
    _FOREIGN.update(there - found)
    return found


def _mounts(below: Path) -> Iterator[str]:
    text = _text("/proc/self/mountinfo")
    for line in text.splitlines() if str(below) in text else ():
        if line.split()[4].startswith(str(below)):
            yield line.split()[4]


def _threads() -> Iterator[str]:
    for thread in threading.enumerate():
        if not KEPT_THREADS.match(thread.name):
            yield f"{thread.name} {thread.ident}"


def _files(below: Path) -> Iterator[str]:
    """Descriptors to the test's own files and to FUSE."""
    for fd in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{fd}")
        except FileNotFoundError:
            continue
        if target.startswith((str(below), "/dev/fuse")):
            yield f"{fd} -> {target}"


def _text(path: str) -> str:
    try:
        with open(path, errors="replace") as file:
            return file.read()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return ""
