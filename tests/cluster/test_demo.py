"""`make demo` runs to its end, shows what it promises, and leaves nothing."""

from __future__ import annotations

import os
import subprocess

import pytest

from tests.lab import lab
from tests.lab.state import CHECKOUT, LabState

STEPS = (
    "A cluster: etcd, API server, controller manager",
    "A host allows namespaces",
    "A unit that the hosts already have",
    "A unit that comes with the manifest",
    "Its status is a file on each host",
    "Restart",
    "stops when one fails",
    "Undo",
    "Two namespaces claim one unit",
    "The API server is killed",
    "Delete: each host is as it was before",
)


@pytest.mark.soak
def test_the_demo_shows_the_whole_chain_and_leaves_nothing() -> None:
    state = LabState(f"demo-{os.getpid()}")
    try:
        done = subprocess.run(
            [CHECKOUT / "tests/demo"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=900,
            env={**os.environ, "DEMO_LAB": state.name, "KEEP": "", "HERE": ""},
        )
        assert (done.returncode, done.stderr) == (0, ""), done.stdout[-6000:]
        place = 0
        for step in STEPS:
            place = done.stdout.find(step, place)
            assert place >= 0, f"no step, or not in its place: {step}"
        assert done.stdout.count("no difference in /etc and in the list of units\n") == 2
        assert "Done in " in done.stdout
        assert not state.directory.exists()
    finally:
        lab.down(state)
