"""Since when services are Ready: a rollout counts a node as available only after MIN_READY_SECONDS, as a Deployment does.

A service of Type=simple is active for a moment before it fails.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from tambourinefs.controller.snapshot import Place, Report

# A failure within the first second is reported by then: sync may write an instance again after one second, and its step
# for what waits runs once a second.
MIN_READY_SECONDS: Final = 2.5


class AvailabilityTracker:
    """`clock` gives monotonic seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._since: dict[str, tuple[tuple[int, int], float]] = {}  # by uid of the instance

    def available_at(self, reports: Iterable[Report]) -> dict[Place, float]:
        """Where a service is Ready but not available yet, and when it will be, by the clock.

        Every generation and every restart, by a command or by Restart=, counts from the start.
        """
        now, before = self._clock(), self._since
        self._since = {}
        found = {}
        for report in reports:
            if report.ready is None or report.ready.status != "True":
                continue
            run = (report.status.observed_generation, report.status.n_restarts)
            known = before.get(report.uid)
            if known is None or known[0] != run:
                known = (run, now)
            self._since[report.uid] = known
            if now < known[1] + MIN_READY_SECONDS:
                found[report.owner, report.node] = known[1] + MIN_READY_SECONDS
        return found

    def reset(self) -> None:
        """Count from the start: while the API server was away, a service may have failed and recovered."""
        self._since = {}
