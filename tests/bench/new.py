"""A new service until it runs, beside writing the unit file and `systemctl start`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.bench.figures import Claim, Row, figure, percentile
from tests.bench.inside import PYTHON, probe

if TYPE_CHECKING:
    from tests.lab.hosts import Host

ROUNDS = 100


def measure(host: Host) -> Row:
    taken = probe(host, "applying", "new", str(ROUNDS), python=PYTHON)
    ours, theirs = ([turn[who] for turn in taken] for who in ("ours", "theirs"))
    more = (
        percentile(ours, 50) - percentile(theirs, 50),
        percentile(ours, 99) - percentile(theirs, 99),
    )
    command = json.loads(host.run(PYTHON, "-c", STARTED).stdout)
    return Row(
        "new",
        "apply of a new service until it runs",
        (
            figure("through Bombshell", ours),
            figure("unit file + systemctl start", theirs),
            figure("tambourine get, as a process", command),
        ),
        (
            Claim("ms more, p50", more[0] * 1e3, 50, at_least=False),
            Claim("ms more, p99", more[1] * 1e3, 200, at_least=False),
        ),
        "the `tambourine` process adds its own start",
    )


STARTED = """
import json, subprocess, time
def run():
    begin = time.perf_counter()
    subprocess.run(["tambourine", "get"], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begin
print(json.dumps([run() for _ in range(10)]))
"""
