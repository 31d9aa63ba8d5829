"""Whose turn it is to wait for the next request: pyfuse3's workers, of which one at a time may read /dev/fuse.

trio.Lock is fair: it wakes the next worker each time, though nearly every request is answered before the worker that read it
waits for anything, so that it could read the next one itself. That costs two more rounds of trio's loop for each request, a
fifth of the processor time of the silo. Here the turn goes to another worker only when the one that had it waits for
something else, which an instrument sees: none is missed, whatever a handler waits for.
"""

from __future__ import annotations

from collections import deque
from contextlib import contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pyfuse3
import trio

if TYPE_CHECKING:
    from collections.abc import Iterator


class Turn(trio.abc.Instrument):
    """As a trio.Lock that its holder may take again at once. It works while it is an instrument of the run."""

    def __init__(self) -> None:
        self._held = False
        self._waiting: deque[trio.lowlevel.Task] = deque()

    async def __aenter__(self) -> None:
        if self._held:
            task = trio.lowlevel.current_task()
            self._waiting.append(task)

            def abort(_raise_cancel: object) -> trio.lowlevel.Abort:
                self._waiting.remove(task)
                return trio.lowlevel.Abort.SUCCEEDED

            await trio.lowlevel.wait_task_rescheduled(abort)
        self._held = True

    async def __aexit__(self, *_: object) -> None:
        self._held = False

    def after_task_step(self, _task: trio.lowlevel.Task) -> None:
        """Some task waits, or has ended: where that leaves the turn with nobody, the longest waiting worker gets it."""
        if self._waiting and not self._held:
            self._held = True
            trio.lowlevel.reschedule(self._waiting.popleft())


@contextmanager
def taking_turns() -> Iterator[None]:
    """While inside, pyfuse3's workers take turns by a Turn.

    It is handed to pyfuse3 where pyfuse3.asyncio.enable() hands it another library. One that did not look there would
    have its trio.Lock as before.
    """
    turn = Turn()
    trio.lowlevel.add_instrument(turn)
    _give(SimpleNamespace(**{**vars(trio), "Lock": lambda: turn}))
    try:
        yield
    finally:
        _give(trio)
        trio.lowlevel.remove_instrument(turn)


def _give(library: object) -> None:
    setattr(pyfuse3, "trio", library)  # noqa: B010  # no attribute that it declares
