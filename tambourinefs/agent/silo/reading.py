"""The manifests in the silo, kept current by one task: what changes during a scan is read by the
next one.
"""

from __future__ import annotations

import logging
from math import inf
from typing import TYPE_CHECKING, Final

import trio

from tambourinefs.agent.notifications import Notifications
from tambourinefs.agent.silo.scan import SiloUnavailable
from tambourinefs.agent.silo.watch import watch_silo

if TYPE_CHECKING:
    from tambourinefs.agent.silo.scan import Entry, Scan, Silo
    from tambourinefs.model.names import NamespacedName

log = logging.getLogger(__name__)

RETRY: Final = 5.0  # seconds until what could not be read is read again, whatever the watch says
NOT_YET: Final = "the silo was not read yet"


class Manifests:
    """What the silo has, or why it cannot be read (`problem`: desired state is unknown then).
    `changed` is notified of manifests that were read; None: of all.
    """

    def __init__(self, silo: Silo, changed: Notifications[NamespacedName]) -> None:
        self.problem = NOT_YET
        self.entries: dict[NamespacedName, Entry] = {}
        self.unread: dict[NamespacedName, str] = {}  # why a manifest cannot be read
        self.uuid = ""  # of the silo
        self._silo = silo
        self._changed = changed
        self._to_read: Notifications[NamespacedName] = Notifications()

    def refresh(self, keys: set[NamespacedName] | None) -> None:
        """Read these again; None: all."""
        self._to_read.notify(keys)

    async def watch(self) -> None:
        """A task: notice changes in the silo."""
        await watch_silo(self._silo.path, self.refresh)

    async def run(self) -> None:
        """A task: read what changed."""
        while True:
            keys = None if self.problem else set(self.unread)
            with trio.move_on_after(RETRY if keys is None or keys else inf):
                changed = await self._to_read.take()
                keys = None if keys is None or changed is None else keys | changed
            try:
                scan = await trio.to_thread.run_sync(self._silo.scan, keys)
            except SiloUnavailable as error:
                self._failed(error)
            else:
                self._read(scan, keys)

    def _failed(self, error: SiloUnavailable) -> None:
        problem = error.message + (f". {error.hint}" if error.hint else "")
        if self.problem != problem:
            log.warning("%s", error.message + (f" ({error.hint})" if error.hint else ""))
        self.problem = problem
        self._changed.notify(())

    def _read(self, scan: Scan, asked: set[NamespacedName] | None) -> None:
        for key, why in scan.unread.items():
            if self.unread.get(key) != why:
                log.warning("%s", why)
        everything = bool(self.problem) or scan.uuid != self.uuid
        self.problem, self.uuid = "", scan.uuid
        self.entries, self.unread = scan.entries, scan.unread
        self._changed.notify(None if everything else scan.changed | (asked or set()))
