"""The worker threads of one process. The first one that fails ends the process: systemd or the kubelet restarts it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

log = logging.getLogger(__name__)


class Workers:
    """Start threads with `start`; a failure sets `stop`, and `join` raises it."""

    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop
        self._threads: list[threading.Thread] = []
        self._failures: list[BaseException] = []

    def start(self, work: Callable[[threading.Event], None]) -> None:
        """Run `work(stop)` in a thread of its own."""

        def run() -> None:
            try:
                work(self._stop)
            except BaseException as error:
                log.critical("a worker failed; ending", exc_info=True)
                self._failures.append(error)
                self._stop.set()

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        self._threads.append(thread)

    def join(self, seconds: float) -> bool:
        """Wait for all threads, `seconds` at most; whether all have ended. Raises what the first failed one raised."""
        deadline = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        if self._failures:
            raise self._failures[0]
        return not any(thread.is_alive() for thread in self._threads)
