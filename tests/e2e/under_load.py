"""Somebody who reads one status again and again while something else happens."""

from __future__ import annotations

import json
import subprocess
from types import TracebackType
from typing import Self

from lab import cgroups
from lab.hosts import Host

# Runs on the host until its standard input ends; says how often it read, what was not the value, and its longest pause.
_SCRIPT = """\
import json, select, sys, time
path, value = sys.argv[1:]
reads, wrong, pause, last = 0, [], 0.0, time.monotonic()
print("reading", flush=True)
while not select.select([sys.stdin], [], [], 0.002)[0]:
    try:
        with open(path) as file:
            text = file.read().strip()
    except OSError:
        continue
    now = time.monotonic()
    pause, last, reads = max(pause, now - last), now, reads + 1
    if text != value and len(wrong) < 20:
        wrong.append(text)
pause = max(pause, time.monotonic() - last)
print(json.dumps({"reads": reads, "wrong": wrong, "pause": pause}))
"""


class Reader:
    """Reads NAMESPACE/NAME/FILE of the statuses for as long as the block runs; `value` is what it shall say.

    A status that is away for a moment is a pause; any other content is wrong. Meanwhile the host goes before whatever else
    this machine does: that would be its pause, not ours.
    """

    def __init__(self, host: Host, file: str, value: str) -> None:
        self._host = host
        self._argv = (f"/run/tambourine/proc/{file}", str(value))
        self.reads, self.pause = 0, 0.0
        self.wrong: list[str] = []

    def __enter__(self) -> Self:
        cgroups.weigh(self._host.state.machine, heavy=True)
        argv = ("/usr/bin/python3", "-c", _SCRIPT, *self._argv)
        self._process = self._host.popen(*argv, stdin=subprocess.PIPE)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "reading\n"
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        cgroups.weigh(self._host.state.machine, heavy=False)
        said, complained = self._process.communicate("", timeout=60)
        if kind is not None:
            return
        assert self._process.returncode == 0, complained
        found = json.loads(said)
        self.reads, self.wrong, self.pause = found["reads"], found["wrong"], found["pause"]
