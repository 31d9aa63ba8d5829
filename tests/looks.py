"""How often a test looks for what it waits for."""

from __future__ import annotations

import time
from typing import Final

MOST: Final = 0.8  # seconds


def rest(began: float, *, least: float = 0.05, share: float = 4.0) -> None:
    """Sleep after a look that began then, by time.monotonic(): looks may start programs, and those take at most a fifth of
    the time (one of `share` + 1) from what is waited for.
    """
    time.sleep(max(least, min(share * (time.monotonic() - began), MOST)))
