"""How long to wait before trying again: doubling, bounded, with jitter, so that a thousand nodes do not return at once."""

from __future__ import annotations

import random


class Backoff:
    """Seconds: `first`, then twice as long each time up to `limit`, each between half and all of it."""

    def __init__(self, first: float = 0.5, limit: float = 30.0) -> None:
        self._first = first
        self._limit = limit
        self._next = first

    def next(self) -> float:
        """How long to wait now."""
        wait, self._next = self._next, min(self._next * 2, self._limit)
        return wait * random.uniform(0.5, 1.0)  # noqa: S311 (jitter, no secret)

    def reset(self) -> None:
        """It went well."""
        self._next = self._first
