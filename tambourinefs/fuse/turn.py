"""Whose turn it is to wait for the next request, and how: pyfuse3's workers, of which one at a time may read /dev/fuse.

trio.Lock is fair: it wakes the next worker each time, though nearly every request is answered before the worker that read it
waits for anything, so that it could read the next one itself. That costs two more rounds of trio's loop for each request, a
fifth of the processor time of the silo. Here the turn goes to another worker only when the one that had it waits for
something else, which an instrument sees: none is missed, whatever a handler waits for.

A program that makes one call after the other sends the next request within microseconds of the answer. So a worker waits
for it in select(2) first, for a moment and not often in a row, and only then by way of trio's loop, which costs as much as
an answer.
"""

from __future__ import annotations

import select
from collections import deque
from contextlib import contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Final

import pyfuse3
import trio

if TYPE_CHECKING:
    from collections.abc import Iterator

_PATIENCE: Final = 0.0002  # seconds; a client that works does not think longer
_IN_A_ROW: Final = 16  # requests until trio's loop has its turn: what else is to run waits for so many answers at most
_SELECTABLE: Final = 1024  # FD_SETSIZE, select(2)


class Turn(trio.abc.Instrument):
    """As a trio.Lock that its holder may take again at once. It works while it is an instrument of the run."""

    def __init__(self) -> None:
        self._held = False
        self._waiting: deque[trio.lowlevel.Task] = deque()
        self._answering: set[trio.lowlevel.Task] = set()
        self._in_a_row = 0

    async def __aenter__(self) -> None:
        task = trio.lowlevel.current_task()
        self._answering.discard(task)
        if self._held:
            self._waiting.append(task)

            def abort(_raise_cancel: object) -> trio.lowlevel.Abort:
                self._waiting.remove(task)
                return trio.lowlevel.Abort.SUCCEEDED

            await trio.lowlevel.wait_task_rescheduled(abort)
        self._held = True

    async def __aexit__(self, *_: object) -> None:
        self._held = False
        self._answering.add(trio.lowlevel.current_task())

    async def wait_readable(self, fd: int) -> None:
        """As trio.lowlevel.wait_readable, for whoever has the turn; most times without a checkpoint.

        While another worker still answers, what it waits for (a thread, a lock) comes by way of trio's loop: then nobody
        waits here, but what has come already is taken.
        """
        if self._in_a_row < _IN_A_ROW and fd < _SELECTABLE:
            self._in_a_row += 1
            if select.select((fd,), (), (), 0 if self._answering else _PATIENCE)[0]:
                return
        self._in_a_row = 0
        await trio.lowlevel.wait_readable(fd)

    def task_exited(self, task: trio.lowlevel.Task) -> None:
        self._answering.discard(task)

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
    lowlevel = SimpleNamespace(**{**vars(trio.lowlevel), "wait_readable": turn.wait_readable})
    _give(SimpleNamespace(**{**vars(trio), "Lock": lambda: turn, "lowlevel": lowlevel}))
    try:
        yield
    finally:
        _give(trio)
        trio.lowlevel.remove_instrument(turn)


def _give(library: object) -> None:
    setattr(pyfuse3, "trio", library)  # noqa: B010  # no attribute that it declares
