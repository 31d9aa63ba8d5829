"""Processes that outlive their parent."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.lab.state import CHECKOUT, Process


def spawn(module: str, *arguments: str) -> Process:
    """Run `python -m MODULE ARGUMENTS…`, whose main() calls `detach` first; returns the detached process."""
    started = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=CHECKOUT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return Process.of(int(started.stdout))


def detach(log: Path) -> None:
    """Continue in a process with its own session, out of reach of Ctrl-C, writing to `log`."""
    if pid := os.fork():
        print(pid, flush=True)
        os._exit(0)
    os.setsid()
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    for target, source in ((0, null), (1, output), (2, output)):
        os.dup2(source, target)
    os.chdir("/")
