"""How a test waits for what it can only look for, and how often it looks."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

MOST: Final = 0.8  # seconds


def until(
    holds: Callable[[], object],
    seconds: float,
    what: str,
    *,
    least: float = 0.05,
    share: float = 4.0,
) -> float:
    """Wait until it holds; AssertionError that names `what` when it does not come in time. Returns how many seconds it took.
    `least`, `share`: as for rest().
    """
    began = looked = time.monotonic()
    while not holds():
        assert time.monotonic() - began < seconds, f"after {seconds:g} s still not: {what}"
        rest(looked, least=least, share=share)
        looked = time.monotonic()
    return time.monotonic() - began


def rest(began: float, *, least: float = 0.05, share: float = 4.0) -> None:
    """Sleep after a look that began then, by time.monotonic(): looks may start programs, and those take at most a fifth of
    the time (one of `share` + 1) from what is waited for.
    """
    time.sleep(max(least, min(share * (time.monotonic() - began), MOST)))
