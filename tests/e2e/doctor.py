"""Fault tests of `tambourine doctor`: cause a fault, prove it, read the findings, run the command that fixes it."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import dataclass
from typing import Protocol

from tests.e2e.chain import wait_until
from tests.waiting import PATIENCE

SECONDS = 40.0  # for one examination, with everything hung and the machine busy


class Runs(Protocol):
    """A host of the lab, or a whole machine."""

    def run(
        self, *argv: str, check: bool = ..., timeout: float = ...
    ) -> subprocess.CompletedProcess[str]: ...


@dataclass(frozen=True)
class Fault:
    """`breaks` and `proof` are shell commands; `proof` succeeds only while the fault exists."""

    name: str
    breaks: str
    proof: str
    check: str
    message: str  # a pattern
    state: str = "error"
    after: str = ""  # cleans up after the fix, shell
    environment: str = ""  # for the command that fixes, shell


@dataclass(frozen=True)
class Line:
    check: str
    state: str
    message: str
    command: str


def shell(host: Runs, text: str, *, check: bool = True, timeout: float = PATIENCE) -> str:
    done = host.run("bash", "-c", f"exec 2>&1\n{text}", check=check, timeout=timeout)
    return done.stdout


def examine(host: Runs, *, code: int | None = None, seconds: float = SECONDS) -> list[Line]:
    """All findings; `code`: the exit status that it must have."""
    done = host.run("tambourine", "doctor", "--json", check=False, timeout=seconds)
    whole = json.loads(done.stdout)
    assert done.returncode == (1 if whole["state"] == "error" else 0), done.stdout
    if code is not None:
        assert done.returncode == code, done.stdout
    return [Line(**one) for one in whole["findings"]]


def troubles(found: list[Line]) -> set[tuple[str, str]]:
    return {(one.check, one.state) for one in found if one.state != "ok"}


def find(found: list[Line], check: str, message: str) -> Line | None:
    return next(
        (one for one in found if one.check == check and re.search(message, one.message)), None
    )


def break_and_fix(
    host: Runs, *faults: Fault, patience: float = PATIENCE, healthy: list[Line] | None = None
) -> None:
    """Cause independent faults; doctor has to report each, and its command has to fix each.

    `patience`: seconds for each step; `healthy`: the findings of this host before, if they are known.
    """
    seconds = max(SECONDS, patience)
    healthy = examine(host, seconds=seconds) if healthy is None else healthy
    before = troubles(healthy)
    for fault in faults:
        assert find(healthy, fault.check, fault.message) is None, "a healthy host has this finding"
    try:
        for fault in faults:
            shell(host, fault.breaks, timeout=patience)
        for fault in faults:
            shell(host, fault.proof, timeout=patience)
        found = examine(host, seconds=seconds)
        said = [_fix(host, fault, found, patience) for fault in faults]
        wait_until(
            lambda: troubles(examine(host, seconds=seconds)) <= before,
            f"healthy after {said}",
            seconds=patience,
        )
    finally:
        for fault in faults:
            shell(host, fault.after or ":", timeout=patience)


def _fix(host: Runs, fault: Fault, found: list[Line], patience: float) -> str:
    """Run the command of the fault's finding; return it."""
    line = find(found, fault.check, fault.message)
    assert line is not None, "\n".join(map(str, found))
    assert line.state == fault.state
    said = shell(host, f"{fault.environment}\n{line.command}", timeout=patience)
    still = host.run("bash", "-c", fault.proof, check=False, timeout=patience)
    assert still.returncode != 0, f"{fault.name}: still there after {line.command}: {said}"
    return line.command
