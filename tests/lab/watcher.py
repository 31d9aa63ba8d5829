"""The process that takes a lab down when the process it was made for has ended: `python -m tests.lab.watcher PID NAME`."""

from __future__ import annotations

import os
import select
import sys

from tests.lab import background, lab
from tests.lab.state import LabState


def main() -> None:
    """Wait for the owner's end (pidfd_open(2): no polling, no reused pid), then take the lab down."""
    owner, name = int(sys.argv[1]), sys.argv[2]
    background.detach(LabState(name).directory / "watcher.log")
    try:
        fd = os.pidfd_open(owner)
    except ProcessLookupError:
        pass
    else:
        select.select([fd], [], [])
    lab.down(LabState(name))


if __name__ == "__main__":
    main()
