"""Which nodes have only just become Ready: a service that fails as soon as it runs is active for a moment first."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from tambourinefs.controller.world import Report

# Seconds that a node is Ready before a rollout believes it. A failure within the first of them is told by then: sync writes
# an instance once a second.
READY_FOR: Final = 1.5

Place = tuple[str, str]
"""(uid of the Tambourine, node)"""


class Steady:
    """Look at all reports now and then; `clock` gives monotonic seconds, ours alone."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._since: dict[Place, tuple[int, float]] = {}

    def young(self, reports: Iterable[Report]) -> frozenset[Place]:
        """Where something is Ready at its generation for less than READY_FOR, as far as we have seen it ourselves."""
        now, before = self._clock(), self._since
        self._since = {}
        young = set()
        for report in reports:
            if report.ready is None or report.ready.status != "True":
                continue
            place, generation = (report.owner, report.node), report.status.observed_generation
            known = before.get(place)
            if known is None or known[0] != generation:
                known = (generation, now)
            self._since[place] = known
            if now - known[1] < READY_FOR:
                young.add(place)
        return frozenset(young)
