"""Removes what dead uploads left in the silo: those of a server that died, and those that lost the silo under them."""

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
STOPS_WITHIN: Final = 2.0  # seconds; a silo that hangs may hold the sweep longer


class Sweeper:
    """One thread. It sweeps when it begins, and after each ring, until a sweep has come to its end.

    The volume's own bell is not enough: a silo that is killed and back within a moment may look like the one before (the
    kernel gives numbers of mounts and devices out again).
    """

    def __init__(self, silo: Volume) -> None:
        self._silo = silo
        self._owed = threading.Event()
        self._over = threading.Event()

    def ring(self) -> None:
        """Something may lie there; from any thread."""
        self._owed.set()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Inside, it sweeps."""
        thread = threading.Thread(target=self._run, name="sweep", daemon=True)
        self.ring()
        thread.start()
        try:
            yield
        finally:
            self._over.set()
            self.ring()
            thread.join(STOPS_WITHIN)

    def _run(self) -> None:
        said, pause = "", AGAIN[0]
        while self._owed.wait() and not self._over.is_set():
            self._owed.clear()
            try:
                with self._silo.root() as root:
                    removed = uploads.remove_leftovers(root)
            except OSError as error:
                if self._silo.serving and str(error) != said:
                    said = str(error)
                    log.warning("cannot look for broken uploads: %s", error)
                self.ring()
                self._over.wait(pause)
                pause = min(2 * pause, AGAIN[1])
                continue
            said, pause = "", AGAIN[0]
            if removed:
                log.info("removed %d temporary files of broken uploads", removed)
