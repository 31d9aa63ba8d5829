"""Several writes to the API server at once: each waits some milliseconds for etcd, and a look may have thousands."""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from tambourinefs.errors import TambourineError, Unreachable

log = logging.getLogger(__name__)
AT_ONCE: Final = 8  # as many as access.py keeps connections
Write = tuple[str, Callable[[], object]]  # what it is about, the write


class Writers:
    """Threads that live until `close`; a process that ends needs none."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(AT_ONCE - 1, thread_name_prefix="writer")

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown()

    def each(self, writes: Iterable[Write]) -> dict[str, str]:
        """Do all of them, in no order, and return when all have ended: what was refused, by what it was about.

        What is refused to one holds up no other. An API server that is away does: what has not begun is left, and
        Unreachable raised. `writes` is taken one by one as they are done: it may be long.
        """
        rest = iter(writes)
        first = list(itertools.islice(rest, 2))
        job = _Job(itertools.chain(first, rest))
        if len(first) == 2:
            others = [self._pool.submit(job.work) for _ in range(AT_ONCE - 1)]
            job.work()
            for other in others:
                other.result()
        else:
            job.work()
        if job.away is not None:
            raise job.away
        return job.problems


class _Job:
    """What the threads of one call share."""

    def __init__(self, writes: Iterable[Write]) -> None:
        self._rest = iter(writes)
        self._lock = threading.Lock()
        self.problems: dict[str, str] = {}
        self.away: Unreachable | None = None

    def work(self) -> None:
        while self.away is None:
            with self._lock:
                about, write = next(self._rest, ("", None))
            if write is None:
                return
            try:
                write()
            except Unreachable as error:
                self.away = error
            except TambourineError as error:
                log.warning("%s", error)
                self.problems[about] = str(error)
