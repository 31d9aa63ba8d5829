"""`tambourine …` whose main thread hangs, from SIGUSR1 on until a file is there: as a loop does that waits for a dead disk.

Other threads go on. A signal's handler runs in the main thread, which is that of the loop.

    python hangable.py FILE arguments of tambourine…
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path


def hang(*_: object) -> None:
    while not Path(sys.argv[1]).exists():
        time.sleep(0.01)


if __name__ == "__main__":
    from tambourinefs.cli.main import run
    from tambourinefs.processes import agent

    # There is no bus in this lane: the agent waits this long for it before it sends READY.
    agent.FIRST_PASS_SECONDS = 0.1
    os.environ["DBUS_SYSTEM_BUS_ADDRESS"] = "unix:path=/nonexistent/bus"
    signal.signal(signal.SIGUSR1, hang)
    sys.exit(run(sys.argv[2:]))
