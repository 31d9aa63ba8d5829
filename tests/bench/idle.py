"""The cost of the three idle daemons: memory and wakeups, with 100 services."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tests.bench.figures import Claim, Row, figure
from tests.bench.inside import install, probe

if TYPE_CHECKING:
    from tests.lab.hosts import Host

SERVICES, ROUNDS, SECONDS = 100, 3, 20
UNITS = ("tambourine-silo.service", "tambourine.service", "tambourine-bombshell.service")


def measure(host: Host) -> Row:
    install(host, "idle", SERVICES)
    time.sleep(10)  # let the installation settle; the next seconds are measured
    taken = [probe(host, "idling", str(SECONDS), *UNITS) for _ in range(ROUNDS)]
    figures = []
    for what, unit in (("pss", "MiB"), ("wakeups", "1/s")):
        figures += [
            figure(f"{what} {name}", [turn[name][what] for turn in taken], unit) for name in UNITS
        ]
        figures.append(
            figure(f"{what} together", [sum(turn[n][what] for n in UNITS) for turn in taken], unit)
        )
    total = next(f for f in figures if f.name == "pss together")
    return Row(
        "idle",
        f"silo + agent + Bombshell, idle, {SERVICES} services",
        tuple(figures),
        (Claim("MiB of PSS together", total.median, 80, at_least=False),),
        "a kubelet usually has 80-100 MB",
    )
