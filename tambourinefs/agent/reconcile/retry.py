"""Services to try again although nothing changed: the host's state refused them, or a disk failed.
On the trio thread.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import trio

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tambourinefs.agent.notifications import Notifications
    from tambourinefs.model.names import NamespacedName

FIRST: Final = 2.0  # seconds
LAST: Final = 120.0


@dataclass(slots=True)
class _Retry:
    message: str
    wait: float
    at: float
    due: bool = False


class Retries:
    """When to try which service again, each time after twice the time. `changed` is notified of a
    service that is due.
    """

    def __init__(self, changed: Notifications[NamespacedName]) -> None:
        self._changed = changed
        self._retries: dict[NamespacedName, _Retry] = {}
        self._wake = trio.Event()

    def is_waiting(self, key: NamespacedName) -> bool:
        """Whether the service failed, and is left alone until it is due."""
        retry = self._retries.get(key)
        return retry is not None and bool(retry.message) and not retry.due

    def is_due(self, key: NamespacedName) -> bool:
        """Whether the service is tried again in this pass."""
        retry = self._retries.get(key)
        return retry is not None and retry.due

    def why(self, key: NamespacedName) -> str:
        """How the service failed, or ""."""
        retry = self._retries.get(key)
        return retry.message if retry else ""

    def later(self, key: NamespacedName, message: str) -> None:
        """Try the service again later. `message` "": it was refused, not failed."""
        before = self._retries.get(key)
        if before is not None and not before.due and before.message == message:
            return  # it waits already
        wait = min(before.wait * 2, LAST) if before else FIRST
        self._retries[key] = _Retry(message, wait, trio.current_time() + wait)
        self._wake.set()

    def clear(self, key: NamespacedName) -> None:
        """The service succeeded, or is gone."""
        self._retries.pop(key, None)

    def succeeded(self, keys: Iterable[NamespacedName]) -> None:
        """A whole pass over these succeeded: clear those that were due and did not fail again."""
        for key in keys:
            if self.is_due(key):
                self.clear(key)

    async def run(self) -> None:
        """A task: notify of services that are due."""
        while True:
            self._wake = trio.Event()
            times = [retry.at for retry in self._retries.values() if not retry.due]
            with trio.move_on_at(min(times, default=float("inf"))):
                await self._wake.wait()
            for key, retry in self._retries.items():
                if not retry.due and retry.at <= trio.current_time():
                    retry.due = True
                    self._changed.add(key)
