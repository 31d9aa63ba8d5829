"""Removes temporary files that uploads left in the silo when the server died or the silo was
unmounted.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from tambourinefs.bombshell import uploads
from tambourinefs.bombshell.volume import Volume

log = logging.getLogger("bombshell.sweeper")

AGAIN: Final = (0.5, 10.0)  # seconds, while the silo is away; twice as long each time
STOPS_WITHIN: Final = 2.0  # seconds; a silo that hangs may block the sweep longer


class Sweeper:
    """One thread. It sweeps at its start and after each request, and retries a sweep until it
    completes.

    The volume's notification is not enough: a silo that is killed and back within a moment may look
    unchanged (the kernel reuses the numbers of mounts and devices).
    """

    def __init__(self, silo: Volume) -> None:
        self._silo = silo
        self._requested = threading.Event()
        self._stopping = threading.Event()

    def request(self) -> None:
        """Sweep soon: a temporary file may have been left. From any thread."""
        self._requested.set()

    @contextmanager
    def running(self) -> Iterator[None]:
        """The thread runs inside."""
        thread = threading.Thread(target=self._run, name="sweep", daemon=True)
        self.request()
        thread.start()
        try:
            yield
        finally:
            self._stopping.set()
            self.request()
            thread.join(STOPS_WITHIN)

    def _run(self) -> None:
        said, pause = "", AGAIN[0]
        while self._requested.wait() and not self._stopping.is_set():
            self._requested.clear()
            try:
                with self._silo.root() as root:
                    removed = uploads.remove_leftovers(root)
            except OSError as error:
                if self._silo.serving and str(error) != said:
                    said = str(error)
                    log.warning("cannot remove files of broken uploads: %s", error)
                self.request()
                self._stopping.wait(pause)
                pause = min(2 * pause, AGAIN[1])
                continue
            said, pause = "", AGAIN[0]
            if removed:
                log.info("removed %d temporary files of broken uploads", removed)
