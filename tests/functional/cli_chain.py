"""A chain for the command line's tests: a real Bombshell and a real status mount, with a script where the agent will be.

The script follows the silo's manifests as an agent does and publishes what a test's `behave` makes of each.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tambourinefs.model.manifest import Manifest, parse_json
from tambourinefs.rpc import pki
from tambourinefs.treewatch import TreeWatch
from tests import waiting

HERE = Path(__file__).parent
TAMBOURINE = (sys.executable, "-m", "tambourinefs.cli.main")
View = dict[str, Any]


def until(what: str, condition: Callable[[], bool]) -> None:
    """Wait for a condition."""
    waiting.until(condition, what, least=0.01)


def condition(kind: str, status: str, reason: str, generation: int, message: str = "") -> View:
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message,
        "observedGeneration": generation,
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }


def view(manifest: Manifest, *conditions: View, active: str = "active", **more: Any) -> View:
    """A ServiceView as procfs_runner takes it."""
    metadata, spec = manifest.metadata, manifest.spec
    return {
        "namespace": metadata.namespace,
        "name": metadata.name,
        "unit_name": spec.unit_name,
        "uid": metadata.uid,
        "generation": metadata.generation,
        "observed_generation": metadata.generation,
        "managed": True,
        "conditions": conditions,
        "unit": {
            "name": spec.unit_name,
            "id": spec.unit_name,
            "load_state": "loaded",
            "active_state": active,
            "sub_state": {"active": "running", "failed": "failed"}.get(active, "dead"),
            "state_change_usec": 1_700_000_000_000_000,
            "active_enter_usec": 1_700_000_000_000_000,
        },
        **more,
    }


def as_asked(manifest: Manifest) -> View:
    """An agent whose host does all that is asked."""
    generation = manifest.metadata.generation
    spec = manifest.spec
    more = {}
    if spec.command_id:
        more["last_command"] = {
            "command": spec.command,
            "commandID": spec.command_id,
            "result": "done",
        }
    kinds = (("Accepted", "Accepted"), ("Applied", "Applied"), ("Ready", "Ready"))
    return view(
        manifest,
        *(condition(kind, "True", reason, generation) for kind, reason in kinds),
        active="inactive" if spec.command == "stop" else "active",
        journal=["first line", f"generation {generation}"],
        **more,
    )


@dataclass
class Chain:
    """Where everything is. `behave` turns a manifest into a view, or None: nothing is published yet."""

    base: Path
    silo: Path
    proc: Path
    server: subprocess.Popen[bytes]
    status: subprocess.Popen[str]
    behave: Callable[[Manifest], View | None] = as_asked
    stopping: threading.Event = field(default_factory=threading.Event)
    said: threading.Lock = field(default_factory=threading.Lock)

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "TAMBOURINE_SOCKET": str(self.base / "b.sock"),
            "TAMBOURINE_PKI": str(self.base / "pki"),
            "NO_COLOR": "1",
        }

    def run(
        self, *arguments: str, stdin: str = "", timeout: float = 60
    ) -> subprocess.CompletedProcess[str]:
        """One `tambourine` command line, in a process of its own."""
        return subprocess.run(
            [*TAMBOURINE, *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
            env=self.environment,
        )

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """One that goes on beside the test."""
        return subprocess.Popen(
            [*TAMBOURINE, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self.environment,
        )

    def manifest(self, name: str = "hello") -> Manifest:
        data = (self.silo / "local" / name / "tambourine.json").read_bytes()
        return parse_json(data, source=name)

    def order(self, **order: Any) -> None:
        """Tell the status mount what to show."""
        with self.said:
            assert self.status.stdin is not None
            assert self.status.stdout is not None
            self.status.stdin.write(json.dumps(order) + "\n")
            self.status.stdin.flush()
            assert json.loads(self.status.stdout.readline()) == "done"

    def follow(self) -> None:
        """The script in the agent's place."""
        shown: dict[tuple[str, str], bytes] = {}
        with contextlib.closing(TreeWatch(self.silo, 3)) as watch:
            while not self.stopping.is_set():
                watch.read()
                self._look(shown)
                self.stopping.wait(0.01)

    def _look(self, shown: dict[tuple[str, str], bytes]) -> None:
        found = {}
        for path in self.silo.glob("*/*/tambourine.json"):
            with contextlib.suppress(FileNotFoundError):
                found[path.parts[-3], path.parts[-2]] = path.read_bytes()
        for key in shown.keys() - found.keys():
            self.order(withdraw=key)
            del shown[key]
        for key, data in found.items():
            if shown.get(key) == data:
                continue
            made = self.behave(parse_json(data, source="script"))
            if made is not None:
                self.order(publish=made)
                shown[key] = data


def server(base: Path) -> subprocess.Popen[bytes]:
    """Start Bombshell and wait until its socket is there."""
    with (base / "bombshell.log").open("ab") as log:
        process = subprocess.Popen(
            [
                *TAMBOURINE,
                "bombshell",
                "--foreground",
                "--plain",
                "--config",
                str(base / "config.toml"),
            ],
            stderr=log,
        )
    until("Bombshell listens", lambda: (base / "b.sock").exists() or process.poll() is not None)
    assert process.poll() is None, (base / "bombshell.log").read_text()
    return process


@contextlib.contextmanager
def chain(base: Path, silo: Path | None = None) -> Iterator[Chain]:
    """Everything up; ended and unmounted after. `silo`: a real one's mount; else a plain directory."""
    silo, proc, keys = silo or base / "silo", base / "proc", base / "pki"
    for directory in (silo, proc, keys):
        directory.mkdir(exist_ok=True)
    pki.init(keys, owners=pki.Owners())
    (base / "config.toml").write_text(
        f'[silo]\nstore = "{base}/store"\nmountpoint = "{silo}"\n[proc]\nmountpoint = "{proc}"\n'
        f'[bombshell]\nsocket = "{base}/b.sock"\npki = "{keys}"\n'
    )
    with (base / "proc.log").open("ab") as log:
        status = subprocess.Popen(
            [sys.executable, str(HERE / "procfs_runner.py"), str(proc)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    assert status.stdout is not None
    assert status.stdout.readline() == '"ready"\n', (base / "proc.log").read_text()
    made = Chain(base, silo, proc, server(base), status)
    script = threading.Thread(target=made.follow, name="agent's place")
    script.start()
    try:
        yield made
    finally:
        made.stopping.set()
        script.join()
        for process in (made.server, made.status):
            process.terminate()
            process.wait(20)
        status.communicate()
