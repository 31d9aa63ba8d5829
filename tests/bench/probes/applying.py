"""Seconds until a service runs, with and without Tambourine in turns: applying.py new|edit|active ROUNDS.

With: write a manifest through Bombshell, until the agent's status says that this generation is
ready and systemd runs it. Without: write the unit file, then systemctl (for an edit: daemon-reload
and restart). The connection to Bombshell is open. `active` measures a new service with Tambourine
only, and ends when systemd says that it became active.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path

from tambourinefs.cli.common.goal import GoalState
from tambourinefs.cli.common.wait import wait
from tambourinefs.cli.host.connection import Connection
from tambourinefs.cli.host.edit import edit, successor
from tambourinefs.cli.host.watching import BombshellSource
from tambourinefs.model.manifest import Manifest, parse_json
from tambourinefs.rpc.client import Client

UNIT = "[Unit]\nDescription=Bench {label}\n[Service]\nExecStart=/usr/bin/sleep infinity\n"
UNITS = Path("/etc/systemd/system")


def manifest(name: str, label: str) -> Manifest:
    whole = {
        "apiVersion": "tambourine.dev/v1alpha1",
        "kind": "Tambourine",
        "metadata": {"name": name},
        "spec": {
            "name": name,
            "command": "start",
            "enabled": False,
            "unit": UNIT.format(label=label),
        },
    }
    return parse_json(json.dumps(whole).encode(), source=name)


def ours(client: Client, name: str, label: str) -> float:
    wanted = manifest(name, label)

    def change(stored: Manifest | None) -> Manifest:
        return successor(stored, wanted)

    begin = time.perf_counter()
    goal = edit(client, name, change).goal
    with BombshellSource(client) as source:
        *_, (result,) = wait(source, [goal], timeout=60)
    took = time.perf_counter() - begin
    assert result.status.state is GoalState.READY, result
    return took


def ours_active(client: Client, name: str) -> float:
    begin = time.monotonic()
    ours(client, name, "0")
    said = subprocess.run(
        ["systemctl", "show", "-P", "StateChangeTimestampMonotonic", f"{name}.service"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return int(said) / 1e6 - begin


def systemctl(*arguments: str) -> None:
    subprocess.run(["systemctl", *arguments], check=True, stdout=subprocess.DEVNULL)


def theirs_new(name: str, label: str) -> float:
    begin = time.perf_counter()
    (UNITS / f"{name}.service").write_text(UNIT.format(label=label))
    systemctl("start", f"{name}.service")
    return time.perf_counter() - begin


def theirs_edit(name: str, label: str) -> float:
    begin = time.perf_counter()
    (UNITS / f"{name}.service").write_text(UNIT.format(label=label))
    systemctl("daemon-reload")
    systemctl("restart", f"{name}.service")
    return time.perf_counter() - begin


def pid(name: str) -> str:
    return subprocess.run(
        ["systemctl", "show", "-P", "MainPID", f"{name}.service"], capture_output=True, text=True
    ).stdout.strip()


def main(kind: str, rounds: int) -> list[dict[str, float]]:
    found = []
    run_id = uuid.uuid4().hex[:6]
    with Connection().connect(timeout=60) as client:
        client.list("silo", "")
        if kind == "active":
            return [{"ours": ours_active(client, f"a-{run_id}-{n}")} for n in range(rounds)]
        theirs: Callable[[str, str], float] = theirs_new if kind == "new" else theirs_edit
        if kind == "edit":
            ours(client, f"b-{run_id}", "0")
            theirs_new(f"r-{run_id}", "0")
        for turn in range(1, rounds + 1):
            suffix = f"-{turn}" if kind == "new" else ""
            name, rival = f"b-{run_id}{suffix}", f"r-{run_id}{suffix}"
            before = pid(name)
            found.append(
                {"ours": ours(client, name, f"{turn}"), "theirs": theirs(rival, f"{turn}")}
            )
            assert pid(name) not in ("0", before), "it was not restarted"
    return found


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], int(sys.argv[2]))))
