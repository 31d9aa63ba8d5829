"""The host's time zone, re-read when /etc/localtime changes: a daemon outlives `timedatectl set-timezone`.

The C library reads it once in a process's life. Two system calls a second on a local file; never the network, never D-Bus.
"""

from __future__ import annotations

import os
import time
import zoneinfo
from datetime import UTC, tzinfo
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

_CHECK_SECONDS: Final = 1.0


class LocalZone:
    """`zone()` is the time zone that `path` (localtime(5)) says now; UTC where it is missing or broken, as glibc has it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: object = None
        self._zone: tzinfo = UTC
        self._checked = float("-inf")

    def zone(self) -> tzinfo:
        now = time.monotonic()
        if now - self._checked >= _CHECK_SECONDS:
            self._checked = now
            self._refresh()
        return self._zone

    def _refresh(self) -> None:
        try:
            found = os.stat(self._path)
            stamp = (found.st_dev, found.st_ino, found.st_mtime_ns)
            if stamp == self._stamp:
                return
            with self._path.open("rb") as file:
                self._zone = zoneinfo.ZoneInfo.from_file(file)
            self._stamp = stamp
        except (OSError, ValueError):
            self._zone, self._stamp = UTC, None
