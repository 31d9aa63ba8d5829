"""Which nodes are lost: by what we saw change on our own clock, never by a time that another clock wrote."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from tambourinefs.model.cluster import NODE_LOST_AFTER


class Heartbeats:
    """Look at the Leases' versions now and then; `clock` gives monotonic seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._seen: dict[str, tuple[str, float]] = {}

    def lost(self, nodes: Iterable[str], versions: Mapping[str, str]) -> frozenset[str]:
        """The nodes whose Lease has not changed for 40 s. `versions`: resourceVersion of each node's Lease.

        When more than half lapse at once, it is the API server or we who were away: then nobody is lost until the
        others have had the same time again.
        """
        now = self._clock()
        names = list(nodes)
        for name in names:
            version = versions.get(name, "")
            if self._seen.get(name, ("\0", 0.0))[0] != version:
                self._seen[name] = (version, now)
        for name in self._seen.keys() - set(names):
            del self._seen[name]
        late = [name for name in names if now - self._seen[name][1] >= NODE_LOST_AFTER]
        just = [name for name in late if now - self._seen[name][1] < 2 * NODE_LOST_AFTER]
        if len(names) > 2 and len(just) * 2 > len(names):
            return frozenset(late) - frozenset(just)
        return frozenset(late)
