"""The bell: which units may have changed since somebody last looked. Pure trio; no D-Bus, no
systemd.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

from tambourinefs.agent.ports import Changes

if TYPE_CHECKING:
    from collections.abc import Iterable

# Beyond that a look at everything is cheaper than a list; it also bounds what a storm can hold.
NAMES_MAX: Final = 16384


class UnitChanges:
    """A set of names and a flag. Ringing never blocks, never fails and never grows without bound."""

    def __init__(self) -> None:
        self._names: set[str] = set()
        self._everything = False
        self._rung = trio.Event()

    def ring(self, names: Iterable[str] = (), *, everything: bool = False) -> None:
        """Say that these may have changed."""
        self._names.update(names)
        if len(self._names) > NAMES_MAX:
            self._names.clear()
            everything = True
        self._everything = self._everything or everything
        if self._names or self._everything:
            self._rung.set()

    def answer(self, name: str) -> None:
        """What rang of this one until now is answered by a look that begins now."""
        self._names.discard(name)

    async def wait(self) -> Changes:
        """Wait until something changed, then take all of it."""
        while True:
            await self._rung.wait()
            changes = Changes(frozenset(self._names), self._everything)
            self._names.clear()
            self._everything = False
            self._rung = trio.Event()
            if changes.names or changes.everything:  # else all was answered meanwhile
                return changes
