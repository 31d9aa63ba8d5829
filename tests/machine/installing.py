"""Install Tambourine as a user would: copied packages, no network."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

from tests.lab import package
from tests.lab.state import CHECKOUT
from tests.lab.tools import say
from tests.machine.machine import Machine

PACKAGES: Final = ("tambourine", "tambourine-dkms")
EXAMPLES: Final = CHECKOUT / "k8s/examples"
PATIENCE: Final = 1800.0  # seconds; the module is compiled by an emulated processor


def packages() -> list[Path]:
    """Our packages of this tree, built once for each state of it; all in one directory."""
    directory = package.packages()
    return [next(directory.glob(f"{name}_*.deb")) for name in PACKAGES]


def apt(machine: Machine, *argv: str) -> str:
    """apt-get without questions; returns what it printed."""
    command = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "--yes", *argv]
    return machine.run(*command, timeout=PATIENCE).stdout


def install(machine: Machine) -> str:
    """Copy packages and examples to /root and install; what apt printed."""
    began = time.monotonic()
    say("machine: installing Tambourine's packages there (a minute or two) …")
    machine.send(EXAMPLES, to="/root", base=CHECKOUT)
    made = packages()
    machine.send(*made, to="/root", base=made[0].parent)
    said = apt(machine, "install", *(f"/root/{file.name}" for file in made))
    say(f"machine: installed in {time.monotonic() - began:.0f} s")
    return said
