"""`cat status` beside `systemctl status`, and 100 units in one read beside `systemctl show` of the same."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.bench.figures import Row, figure, times_faster
from tests.bench.inside import PROC, columns, install, probe

if TYPE_CHECKING:
    from tests.lab.hosts import Host

ROUNDS, UNITS = 40, 100
PROPERTIES = "Id,Description,LoadState,FragmentPath,UnitFileState,DropInPaths,ActiveState,SubState,StateChangeTimestamp,"
PROPERTIES += (
    "Documentation,MainPID,TasksCurrent,MemoryCurrent,ControlGroup"  # what services.json has
)


def measure(host: Host) -> Row:
    install(host, "unit", UNITS)
    names = [f"unit-{n}.service" for n in range(UNITS)]
    commands = {
        "cat status": ["cat", f"{PROC}/local/unit-1/status"],
        "systemctl status": ["systemctl", "status", "--no-pager", names[1]],
        "cat services.json of 100": ["cat", f"{PROC}/services.json"],
        "systemctl show -p of 100": ["systemctl", "show", "-p", PROPERTIES, *names],
    }
    taken = columns(probe(host, "running", str(ROUNDS), json.dumps(list(commands.values()))))
    found = {name: figure(name, samples) for name, samples in zip(commands, taken, strict=True)}
    (one,) = columns(probe(host, "reading", str(ROUNDS), "20", f"{PROC}/services.json"))
    one_read = figure("one read of services.json", one)
    show = found["systemctl show -p of 100"]
    return Row(
        "status",
        "status of a unit as a process; of 100 units in one read",
        (*found.values(), one_read),
        (
            times_faster(
                "cat: times faster than systemctl status",
                found["cat status"],
                found["systemctl status"],
                3,
            ),
            times_faster("one read: times faster than systemctl show of 100", one_read, show, 20),
            times_faster(
                "the same, with cat's own start", found["cat services.json of 100"], show, 20
            ),
        ),
    )
