"""An edit until the service runs again, against write, daemon-reload and restart."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.bench.figures import Row, figure, times_as_long
from tests.bench.inside import PYTHON, probe

if TYPE_CHECKING:
    from tests.lab.hosts import Host

ROUNDS = 30
LOADED = (10, 1000)
# Loaded and active, but without a process: what a daemon-reload costs is reading and sorting units.
FILL = """
from pathlib import Path
import subprocess, sys
names = [f"fill-{n}.service" for n in range(int(sys.argv[1]), int(sys.argv[2]))]
for name in names:
    text = "[Service]\\nType=oneshot\\nRemainAfterExit=yes\\nExecStart=/bin/true\\n"
    Path("/etc/systemd/system", name).write_text(text)
subprocess.run(["systemctl", "start", *names], check=True)
"""


def measure(host: Host) -> Row:
    figures, claims, filled = [], [], 0
    for loaded in LOADED:
        host.run("python3", "-c", FILL, str(filled), str(loaded), timeout=600)
        filled = loaded
        taken = probe(host, "applying", "edit", str(ROUNDS), python=PYTHON)
        ours = figure(f"edit, {loaded} loaded", [turn["ours"] for turn in taken])
        theirs = figure(f"by hand, {loaded} loaded", [turn["theirs"] for turn in taken])
        figures += [ours, theirs]
        claims.append(times_as_long(f"times as long, {loaded} loaded", ours, theirs, 1.3))
    return Row("edit", "apply of an edit until running again", tuple(figures), tuple(claims))
