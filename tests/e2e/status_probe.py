"""Runs inside a host: what we render of a unit beside what systemctl prints of it, at one moment.

    python status_probe.py UNIT…      →  one JSON object a unit on stdout: {"ours": …, "before": …, "after": …}

`before` and `after` are `systemctl status` just before and just after ours, so that a test can tell a difference
from a change.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import trio

from tambourinefs.agent.units.systemd import HostSystemd
from tambourinefs.model.view import ServiceView
from tambourinefs.procfs.host.cgroups import Cgroups
from tambourinefs.procfs.host.reader import HostReader, LocalZone
from tambourinefs.procfs.render.files import Needs
from tambourinefs.procfs.render.status_text import status_text


async def systemctl(unit: str) -> str:
    done = await trio.run_process(
        ["systemctl", "status", "--lines=0", "--no-pager", "--full", "--", unit],
        capture_stdout=True,
        stderr=subprocess.STDOUT,
        check=False,
        env={**os.environ, "LC_ALL": "C.UTF-8", "SYSTEMD_COLORS": "0"},
    )
    return done.stdout.decode()


async def main(units: list[str]) -> None:
    host = HostReader(Cgroups(), LocalZone(Path("/etc/localtime")))
    systemd = HostSystemd()
    async with trio.open_nursery() as nursery:
        await nursery.start(systemd.run)
        await systemd.wait_connected()
        for name in units:
            before = await systemctl(name)
            unit = await systemd.unit(name)
            figures = await host.with_processes(unit, host.figures(unit, Needs.PROCESSES))
            view = ServiceView("local", "it", name, unit=unit)
            ours = status_text(view, figures, host.moment())
            after = await systemctl(name)
            print(json.dumps({"ours": ours, "before": before, "after": after}))
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main, sys.argv[1:])
