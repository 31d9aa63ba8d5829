"""Which units may have changed since they were last asked for. Pure trio; no D-Bus, no systemd."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

from tambourinefs.agent.ports import Changes

if TYPE_CHECKING:
    from collections.abc import Iterable

# Beyond that reading everything is cheaper than a list; it also bounds what a storm can hold.
NAMES_MAX: Final = 16384


class UnitChanges:
    """Sets of names and a flag. To notify never blocks, never fails and never grows without bound."""

    def __init__(self) -> None:
        self._names: set[str] = set()
        self._loaded: set[str] = set()
        self._everything = False
        self._notified = trio.Event()

    def notify(
        self, names: Iterable[str] = (), *, loaded: Iterable[str] = (), everything: bool = False
    ) -> None:
        """Say that these may have changed; see ports.Changes. Without arguments: wake who waits."""
        self._names.update(names)
        self._loaded.update(loaded)
        self._everything = self._everything or everything
        if len(self._names) + len(self._loaded) > NAMES_MAX:
            self._names.clear()
            self._loaded.clear()
            self._everything = True
        self._notified.set()

    def take(self) -> Changes:
        """All that was notified since the last time; empty where nothing was."""
        changes = Changes(frozenset(self._names), frozenset(self._loaded), self._everything)
        self._names.clear()
        self._loaded.clear()
        self._everything = False
        if self._notified.is_set():
            self._notified = trio.Event()
        return changes

    async def wait(self) -> Changes:
        """Wait for notify(), then take all of it: empty where another took it first."""
        await self._notified.wait()
        return self.take()
