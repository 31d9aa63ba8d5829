"""Tambourine comes to a machine as a user would bring it: its packages (`make deb`), copied there, and no network."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

from lab.state import CHECKOUT
from lab.tools import LabError, say
from tests.machine.machine import Machine

DIST: Final = CHECKOUT / "dist"
PACKAGES: Final = ("tambourine", "tambourine-dkms")
EXAMPLES: Final = CHECKOUT / "k8s/examples"
PATIENCE: Final = 1800.0  # seconds; the module is compiled by an emulated processor


def packages() -> list[Path]:
    """The newest of each of our packages in dist/. Raises LabError where one is missing."""
    found = []
    for name in PACKAGES:
        made = sorted(DIST.glob(f"{name}_*.deb"), key=lambda path: path.stat().st_mtime)
        if not made:
            raise LabError(f"dist/{name}_*.deb is missing: make deb")
        found.append(made[-1])
    return found


def apt(machine: Machine, *argv: str) -> str:
    """apt-get as a person types it, but that nobody is there to be asked; what it printed."""
    command = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "--yes", *argv]
    return machine.run(*command, timeout=PATIENCE).stdout


def install(machine: Machine) -> str:
    """Copy packages and examples to /root and install; what apt printed."""
    began = time.monotonic()
    say("machine: installing Tambourine's packages there (a minute or two) …")
    machine.send(EXAMPLES, to="/root", base=CHECKOUT)
    made = packages()
    machine.send(*made, to="/root", base=DIST)
    said = apt(machine, "install", *(f"/root/{package.name}" for package in made))
    say(f"machine: installed in {time.monotonic() - began:.0f} s")
    return said
