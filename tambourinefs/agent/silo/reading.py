"""From the silo's bells to scans: one task, so that what rings during a scan is one more scan after it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from tambourinefs.agent.silo.scan import SiloUnavailable
from tambourinefs.agent.silo.watch import watch_silo

if TYPE_CHECKING:
    from collections.abc import Callable

    from tambourinefs.agent.silo.scan import Scan, Silo
    from tambourinefs.model.names import NamespacedName


class SiloReader:
    """Reads what rang, and all of it where anything may have changed."""

    def __init__(
        self,
        silo: Silo,
        accept: Callable[[str], None],
        read: Callable[[Scan, set[NamespacedName] | None], None],
        failed: Callable[[SiloUnavailable], None],
    ) -> None:
        """`accept`: remembers a UUID durably, OSError where it cannot. `read` is told a scan and what was asked for
        (None: all), `failed` why there is none.
        """
        self._silo = silo
        self._accept = accept
        self._read = read
        self._failed = failed
        self._to_scan: set[NamespacedName] | None = set()
        self._wake = trio.Event()

    def rang(self, keys: set[NamespacedName] | None) -> None:
        """A bell: look at these again; None: at all."""
        if keys is None or self._to_scan is None:
            self._to_scan = None
        else:
            self._to_scan |= keys
        self._wake.set()

    async def watch(self) -> None:
        """A task: the silo's own bells."""
        await watch_silo(self._silo.path, self.rang)

    async def run(self) -> None:
        """A task: a scan for what rang."""
        while True:
            await self._wake.wait()
            self._wake = trio.Event()
            keys, self._to_scan = self._to_scan, set()
            try:
                scan = await trio.to_thread.run_sync(self._silo.scan, keys)
                if not self._silo.expected:
                    await self._obey(scan.uuid)
            except SiloUnavailable as error:
                self._failed(error)
            else:
                self._read(scan, keys)

    async def _obey(self, uuid: str) -> None:
        """Remember the first silo that is seen. Raises SiloUnavailable: one that is not kept is not obeyed."""
        try:
            await trio.to_thread.run_sync(self._accept, uuid)
        except OSError as error:
            why = error.strerror or error
            message = f"silo {self._silo.path} cannot be remembered as the one that this host obeys: {why}"
            raise SiloUnavailable(message) from error
        self._silo.expected = uuid
