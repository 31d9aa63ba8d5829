"""`make demo-node` runs to its end and may keep its host; a demo ends where a step is not as it should be."""

from __future__ import annotations

import os
import subprocess

import pytest

from tests.e2e.chain import answers
from tests.lab import lab
from tests.lab.hosts import Host
from tests.lab.state import CHECKOUT, LabState
from tests.lab.tree import SOURCE


@pytest.mark.soak
def test_the_demo_of_one_host_shows_what_it_promises_and_keeps_the_host_when_asked() -> None:
    state = LabState(f"demo-{os.getpid()}")
    try:
        done = subprocess.run(
            [CHECKOUT / "tests/demo-node"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=600,
            env={**os.environ, "DEMO_LAB": state.name, "KEEP": "1", "HERE": ""},
        )
        assert (done.returncode, done.stderr) == (0, ""), done.stdout[-6000:]
        assert "no difference in /etc and in the list of units\n" in done.stdout
        assert f"tests/lab/lab --name {state.name} shell h1" in done.stdout
        (host,) = state.hosts()
        assert answers(Host(host))
    finally:
        lab.down(state)


@pytest.mark.soak
def test_the_demo_runs_on_a_machine_that_systemd_runs() -> None:
    """`make demo-node HERE=1`; here that machine is a host of the lab, with the Python packages and no network."""
    state = LabState(f"demo-here-{os.getpid()}")
    try:
        (made,) = lab.up(state, hosts=1, kind="prepared", owner=os.getpid())
        command = f"cd {SOURCE} && HERE=1 WHEELHOUSE=/wheels exec tests/demo-node"
        done = Host(made).run("bash", "-c", command, check=False, timeout=300)
        assert done.returncode == 0, done.stdout[-6000:] + done.stderr
        assert "no difference in /etc and in the list of units\n" in done.stdout
        assert answers(Host(made)), "it stays installed"
    finally:
        lab.down(state)


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ("show here 'echo one'; saw '^two$'", "the last command should have printed /^two$/"),
        ("show here 'false'", ""),
        ("show here 'echo one; exit 3' ", "one"),
        ("refused 2 here 'exit 3'", "expected exit status 2"),
        ("refused 2 here true", "expected exit status 2"),
    ],
)
def test_a_step_that_is_not_as_it_should_be_ends_the_demo(steps: str, said: str) -> None:
    # HERE: there is no lab to take down.
    script = f". tests/demo-lib; {steps}; echo went on"
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=CHECKOUT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "HERE": "1"},
    )
    assert done.returncode != 0
    assert said in done.stdout
    assert "went on" not in done.stdout
    assert "Done in" not in done.stdout
