"""Which nodes are lost, by changes of their Leases on this process's clock, never by a time that another clock wrote."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from tambourinefs.model.cluster import NODE_LOST_AFTER


class LeaseTracker:
    """`clock` gives monotonic seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._changed: dict[str, tuple[str, float]] = {}  # by node: version, and since when

    def lost(self, nodes: Iterable[str], versions: Mapping[str, str]) -> frozenset[str]:
        """The nodes whose Lease has not changed for 40 s. `versions`: resourceVersion of each node's Lease.

        When more than half lapse together, the API server or this process was away: then none of these is lost until
        the same time has passed once more.
        """
        now = self._clock()
        names = list(nodes)
        for name in names:
            version = versions.get(name, "")
            if self._changed.get(name, ("\0", 0.0))[0] != version:
                self._changed[name] = (version, now)
        for name in self._changed.keys() - set(names):
            del self._changed[name]
        late = [name for name in names if now - self._changed[name][1] >= NODE_LOST_AFTER]
        recent = [name for name in late if now - self._changed[name][1] < 2 * NODE_LOST_AFTER]
        if len(names) > 2 and len(recent) * 2 > len(names):
            return frozenset(late) - frozenset(recent)
        return frozenset(late)
