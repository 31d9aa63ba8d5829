"""Load beside a test: one process reads status files, another applies services."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import ClassVar, Self

from tests.e2e.chain import MANIFEST
from tests.lab.hosts import Host


class _Beside:
    """A program that runs on the host until its standard input ends, and then says in JSON what it saw."""

    script: ClassVar[str]

    def __init__(self, host: Host, *argv: str) -> None:
        self.host = host
        self._argv = ("/usr/bin/python3", "-c", self.script, *argv)

    def __enter__(self) -> Self:
        self._process = self.host.popen(*self._argv, stdin=subprocess.PIPE)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "begins\n"
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        said, complained = self._process.communicate("", timeout=60)
        if kind is not None:
            return
        assert self._process.returncode == 0, complained
        self.saw(json.loads(said))

    def saw(self, found: list[list[object]]) -> None:
        raise NotImplementedError


@dataclass(frozen=True)
class Seen:
    """How often a status was read, the longest pause of its reader in seconds, and what was read that was wrong."""

    reads: int
    pause: float
    wrong: Sequence[str]


class Reader(_Beside):
    """Reads the given statuses for as long as the block runs, each of services that run meanwhile: their names are given.

    Whole, and of the right one: `status` has the unit in its first line and the state `active (running)`, `status.json` and
    `services.json` parse and name them, running. A file that is away for a moment is a pause.
    """

    script = """\
import json, select, sys, time

def right(path, text, names):
    if path.endswith(".json"):
        found = json.loads(text)
        running = {s["name"] for s in (found if isinstance(found, list) else [found]) if s["activeState"] == "active"}
        return running >= set(names) and (isinstance(found, list) or len(names) == 1)
    first = text.splitlines()[0]
    return first.startswith(f"● {names[0]}.service") and "Active: active (running) since" in text and text.endswith("\\n")

files = json.loads(sys.argv[1])
began = time.monotonic()
reads, wrong, pause, last = ({f: v for f in files} for v in (0, None, 0.0, began))
wrong = {f: [] for f in files}
print("begins", flush=True)
while not select.select([sys.stdin], [], [], 0.01)[0]:
    for name, services in files.items():
        try:
            with open(f"/run/tambourine/proc/{name}") as file:
                text = file.read()
        except OSError:
            continue
        now = time.monotonic()
        pause[name], last[name], reads[name] = max(pause[name], now - last[name]), now, reads[name] + 1
        try:
            whole = right(name, text, services)
        except (ValueError, LookupError, TypeError) as error:
            whole, text = False, f"{error!r}: {text}"
        if not whole and len(wrong[name]) < 20:
            wrong[name].append(text)
end = time.monotonic()
print(json.dumps([[f, reads[f], max(pause[f], end - last[f]), wrong[f]] for f in files]))
"""

    def __init__(self, host: Host, files: Mapping[str, Sequence[str]]) -> None:
        super().__init__(host, json.dumps(files))
        self.seen: dict[str, Seen] = {}

    def saw(self, found: list[list[object]]) -> None:
        self.seen = {str(file): Seen(*rest) for file, *rest in found}  # type: ignore[arg-type]


class Applying(_Beside):
    """Applies one new service after the other, a few a second, for as long as the block runs: `answered` are those that the
    command took, the others' ends are in `refused`.
    """

    script = """\
import json, select, subprocess, sys
template = sys.argv[1]
said = []
print("begins", flush=True)
while not select.select([sys.stdin], [], [], 0.2)[0]:
    name = f"load-{len(said)}"
    text = template.replace("NAME", name)
    # The starts of so many programs would else be the pause of who reads, not the update.
    argv = ["nice", "-n", "10", "tambourine", "apply", "-f", "-", "--no-wait"]
    done = subprocess.run(argv, input=text, capture_output=True, text=True)
    said.append([name, done.returncode, done.stderr[-300:]])
print(json.dumps(said))
"""

    def __init__(self, host: Host) -> None:
        super().__init__(host, MANIFEST.format(name="NAME", mark=""))
        self.answered: list[str] = []
        self.refused: dict[str, str] = {}

    def saw(self, found: list[list[object]]) -> None:
        self.answered = [str(name) for name, status, _ in found if status == 0]
        self.refused = {str(name): f"{status}: {said}" for name, status, said in found if status}
