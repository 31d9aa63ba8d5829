"""Parallel writes to the API server: each waits some milliseconds for etcd, and one step may have thousands."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from tambourinefs.errors import Unreachable
from tambourinefs.kube.workloop import isolated

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
        head = list(itertools.islice(rest := iter(writes), 2))
        remaining, lock = itertools.chain(head, rest), threading.Lock()
        problems: dict[str, str] = {}
        unreachable: list[Unreachable] = []

        def work() -> None:
            while not unreachable:
                with lock:
                    about, write = next(remaining, ("", None))
                if write is None:
                    return
                try:
                    with isolated(about, problems):
                        write()
                except Unreachable as error:
                    unreachable.append(error)

        others = [self._pool.submit(work) for _ in range(PARALLEL - 1)] if len(head) == 2 else []
        work()
        for other in others:
            other.result()
        if unreachable:
            raise unreachable[0]
        return problems
