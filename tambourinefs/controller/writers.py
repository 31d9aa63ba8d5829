"""Parallel writes to the API server: each waits some milliseconds for etcd, and one step may have thousands."""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from tambourinefs.errors import TambourineError, Unreachable

log = logging.getLogger(__name__)
PARALLEL: Final = 8  # access.py keeps as many connections
Write = tuple[str, Callable[[], object]]  # what it is about, the write


class Writers:
    """A pool of threads, until `close`."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(PARALLEL - 1, thread_name_prefix="writer")

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown()

    def each(self, writes: Iterable[Write]) -> dict[str, str]:
        """Do all writes, in any order; returns the errors by what the write was about.

        An error of one write does not stop the others. Unreachable does: writes that have not begun are left, and it is
        raised. `writes` is consumed as they are done: it may be long.
        """
        rest = iter(writes)
        first = list(itertools.islice(rest, 2))
        job = _Job(itertools.chain(first, rest))
        if len(first) == 2:
            others = [self._pool.submit(job.work) for _ in range(PARALLEL - 1)]
            job.work()
            for other in others:
                other.result()
        else:
            job.work()
        if job.unreachable is not None:
            raise job.unreachable
        return job.problems


class _Job:
    """The state that the threads of one call share."""

    def __init__(self, writes: Iterable[Write]) -> None:
        self._rest = iter(writes)
        self._lock = threading.Lock()
        self.problems: dict[str, str] = {}
        self.unreachable: Unreachable | None = None

    def work(self) -> None:
        while self.unreachable is None:
            with self._lock:
                about, write = next(self._rest, ("", None))
            if write is None:
                return
            try:
                write()
            except Unreachable as error:
                self.unreachable = error
            except TambourineError as error:
                log.warning("%s", error)
                self.problems[about] = str(error)
