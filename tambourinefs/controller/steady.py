"""Which nodes have only just become Ready: a service that fails as soon as it runs is active for a moment first."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from tambourinefs.controller.world import Place, Report

# Seconds that a node is Ready before a rollout believes it. A failure within the first of them is told by then: where sync
# has just written an instance, its next word may wait for another second, and what waits is looked at once a second.
READY_FOR: Final = 2.5


class Steady:
    """Look at all reports now and then; `clock` gives monotonic seconds, ours alone."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._since: dict[str, tuple[tuple[int, int], float]] = {}  # by uid of the instance

    def young(self, reports: Iterable[Report]) -> dict[Place, float]:
        """Where something is Ready for less than READY_FOR, as far as we have seen it ourselves, and when it will have been
        long enough by the clock. What was restarted, by us or by Restart=, begins anew.
        """
        now, before = self._clock(), self._since
        self._since = {}
        young = {}
        for report in reports:
            if report.ready is None or report.ready.status != "True":
                continue
            status = report.status
            run = (status.observed_generation, status.n_restarts)
            known = before.get(report.uid)
            if known is None or known[0] != run:
                known = (run, now)
            self._since[report.uid] = known
            believed = known[1] + READY_FOR
            if now < believed:
                young[report.owner, report.node] = believed
        return young

    def forget(self) -> None:
        """We were away: what is Ready then may have failed meanwhile."""
        self._since = {}
