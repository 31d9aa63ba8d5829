"""Waiting for a condition that a test can only poll."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

PATIENCE: Final = 60.0  # seconds; a wait that succeeds returns at once, so this costs nothing
LONGEST_PAUSE: Final = 0.8  # seconds


def until(
    holds: Callable[[], object],
    what: str,
    *,
    seconds: float = PATIENCE,
    least: float = 0.05,
    share: float = 4.0,
) -> float:
    """Poll until it holds; AssertionError naming `what` after `seconds`. Returns the seconds taken.

    `least`, `share`: as for rest().
    """
    began = polled = time.monotonic()
    while not holds():
        assert time.monotonic() - began < seconds, f"after {seconds:g} s still not: {what}"
        rest(polled, least=least, share=share)
        polled = time.monotonic()
    return time.monotonic() - began


def rest(began: float, *, least: float = 0.05, share: float = 4.0) -> None:
    """Sleep after a poll that began then, by time.monotonic().

    A poll may start programs: they take at most one of `share` + 1 parts of the time from what is
    waited for.
    """
    time.sleep(max(least, min(share * (time.monotonic() - began), LONGEST_PAUSE)))
