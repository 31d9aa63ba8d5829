"""The directory for large temporary files: in memory if there is enough."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Final

MEMORY: Final = Path("/dev/shm")
DISK: Final = Path("/var/tmp")  # not /tmp, which may be in memory as well
NEEDED: Final = (
    7 << 30
)  # bytes: a disk's overlay, the machine's own memory, QEMU's translations; or what an image is made in


def roomy() -> bool:
    """Whether this machine has enough free memory."""
    told = re.search(r"^MemAvailable: +(\d+) kB$", Path("/proc/meminfo").read_text(), re.MULTILINE)
    return told is not None and int(told[1]) << 10 >= NEEDED


def for_overlays() -> Path:
    """The directory for the disks of machines, which grow to two gigabytes.

    In memory the machine's flushes cost nothing, and are as real: QEMU writes its tables there, and nothing that QEMU itself
    held survives its kill. Elsewhere the machine waits for a disk that others use as well.
    """
    in_memory = MEMORY.is_dir() and roomy() and shutil.disk_usage(MEMORY).free >= NEEDED
    return MEMORY if in_memory else DISK
