"""Waiting for a condition on a machine that is an order of magnitude slower than ours."""

from __future__ import annotations

import time
from collections.abc import Callable

PAUSE = 1.0  # each look is a command there, which takes half a second of what is waited for


def wait_until(condition: Callable[[], object], seconds: float, what: str) -> None:
    """Return when condition() holds; AssertionError naming `what` after so many seconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"after {seconds:g} s still not: {what}"
        time.sleep(PAUSE)
