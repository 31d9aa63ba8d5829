"""Keys that changed, from those who notice to the one task that handles them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

import trio

if TYPE_CHECKING:
    from collections.abc import Iterable

K = TypeVar("K")
K_contra = TypeVar("K_contra", contravariant=True)


class Sink(Protocol[K_contra]):
    """Takes a key that changed; never blocks."""

    def add(self, key: K_contra) -> None:
        """This one changed."""
        ...


class Notifications(Generic[K]):
    """A set of keys and a wake-up. To notify never blocks; a key notified twice is taken once.

    Level-triggered: a key says that something changed, not what. The task reads the rest.
    """

    def __init__(self) -> None:
        self._keys: set[K] = set()
        self._all = False
        self._changed = trio.Event()

    def __bool__(self) -> bool:
        return bool(self._keys) or self._all

    def add(self, key: K) -> None:
        """This one changed."""
        self._keys.add(key)
        self._changed.set()

    def notify(self, keys: Iterable[K] | None) -> None:
        """These changed; None: any may have. The task wakes also for no keys."""
        if keys is None:
            self._all = True
        else:
            self._keys.update(keys)
        self._changed.set()

    async def take(self) -> set[K] | None:
        """Wait for a notification and take all keys; None: any may have changed."""
        await self._changed.wait()
        if self._all:
            self.take_nowait()
            return None
        return self.take_nowait()

    def take_nowait(self) -> set[K]:
        """The keys that were notified until now; maybe none."""
        keys, self._keys, self._all = self._keys, set(), False
        self._changed = trio.Event()
        return keys


class Both(Generic[K]):
    """A sink that passes each key to two others."""

    def __init__(self, first: Sink[K], second: Sink[K]) -> None:
        self._sinks = (first, second)

    def add(self, key: K) -> None:
        """This one changed."""
        for sink in self._sinks:
            sink.add(key)
