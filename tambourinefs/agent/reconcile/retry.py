"""What is tried again although nothing rang: refused by the host's state, failed on the disk. On
the trio thread.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import trio

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tambourinefs.model.names import NamespacedName

FIRST: Final = 2.0  # seconds
LAST: Final = 120.0
SILO: Final = 5.0


@dataclass(slots=True)
class _Trouble:
    message: str
    wait: float
    at: float
    due: bool = False


class Retries:
    """Services in trouble. A service that is in here and not due is left alone; `again` is told
    when its time has come.
    """

    def __init__(self, again: Callable[[NamespacedName], None]) -> None:
        self._again = again
        self._troubles: dict[NamespacedName, _Trouble] = {}
        self._silo: tuple[float, Callable[[set[NamespacedName] | None], None]] | None = None
        self._wake = trio.Event()

    def __contains__(self, key: object) -> bool:
        """Whether the service failed and must wait."""
        trouble = self._troubles.get(key)  # type: ignore[call-overload]
        return trouble is not None and bool(trouble.message) and not trouble.due

    def why(self, key: NamespacedName) -> str:
        """What went wrong, or ""."""
        trouble = self._troubles.get(key)
        return trouble.message if trouble else ""

    def later(self, key: NamespacedName, message: str) -> None:
        """Try this service again later, each time twice as late. `message` "": it was refused, not
        failed.
        """
        before = self._troubles.get(key)
        if before is not None and not before.due and before.message == message:
            return  # it waits already
        wait = min(before.wait * 2, LAST) if before else FIRST
        self._troubles[key] = _Trouble(message, wait, trio.current_time() + wait)
        self._wake.set()

    def clear(self, key: NamespacedName) -> None:
        """It went well, or is gone."""
        self._troubles.pop(key, None)

    def over(self, keys: Iterable[NamespacedName]) -> None:
        """All that these wanted was tried: whose time had come, and did not fail anew, is in no trouble any more. Whatever
        failed, not only the writing of files.
        """
        for key in keys:
            trouble = self._troubles.get(key)
            if trouble is not None and trouble.due:
                self.clear(key)

    def silo(self, ring: Callable[[set[NamespacedName] | None], None]) -> None:
        """The silo could not be read: look again, whatever its bells say."""
        self._silo = (trio.current_time() + SILO, ring)
        self._wake.set()

    async def run(self) -> None:
        """A task: say when it is time."""
        while True:
            self._wake = trio.Event()
            with trio.move_on_at(self._next()):
                await self._wake.wait()
            self._ring(trio.current_time())

    def _next(self) -> float:
        times = [trouble.at for trouble in self._troubles.values() if not trouble.due]
        return min([*times, self._silo[0] if self._silo else float("inf")], default=float("inf"))

    def _ring(self, now: float) -> None:
        if self._silo is not None and self._silo[0] <= now:
            ring, self._silo = self._silo[1], None
            ring(None)
        for key, trouble in list(self._troubles.items()):
            if not trouble.due and trouble.at <= now:
                trouble.due = True
                self._again(key)
