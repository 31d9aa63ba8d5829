"""Applied state in memory, the names that it owns, and its way to the disk. On the trio thread; only
`flush` waits.

Several tasks change records at once, each of its own service. A task that changes the host by a
record flushes first; flushes at the same time become one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tambourinefs.agent.state.record import Claim, Record
    from tambourinefs.agent.state.store import Store
    from tambourinefs.model.names import NamespacedName


class AppliedState:
    """Applied state, as `store` has or will have it."""

    def __init__(self, store: Store, records: Mapping[NamespacedName, Record]) -> None:
        self._store = store
        self._records = dict(records)
        self._owners = {claim: key for key, record in records.items() for claim in record.claims}
        self._unsaved: set[NamespacedName] = set()
        self._lock = trio.Lock()

    @property
    def records(self) -> Mapping[NamespacedName, Record]:
        """All, by key."""
        return self._records

    @property
    def owners(self) -> Mapping[Claim, NamespacedName]:
        """The owner of each claimed name."""
        return self._owners

    @property
    def is_durable(self) -> bool:
        """Whether the disk has all of it."""
        return not self._unsaved and not self._lock.locked()

    def get(self, key: NamespacedName) -> Record | None:
        """The record of a service."""
        return self._records.get(key)

    def set(self, record: Record) -> None:
        """Replace the record of its service; not yet durable."""
        old = self._records.get(record.key)
        if old == record:
            return
        if old is None or old.claims != record.claims:
            self._release(record.key)
            self._owners.update(dict.fromkeys(record.claims, record.key))
        self._records[record.key] = record
        self._unsaved.add(record.key)

    def _release(self, key: NamespacedName) -> None:
        old = self._records.get(key)
        for claim in old.claims if old else ():
            if self._owners.get(claim) == key:
                del self._owners[claim]

    async def flush(self) -> None:
        """Make everything durable that was set before this call.

        Raises OSError; the next flush tries again.
        """
        async with self._lock:
            waiting = [self._records[key] for key in self._unsaved if key in self._records]
            if not waiting:
                return
            self._unsaved.clear()
            try:
                await trio.to_thread.run_sync(self._store.save, waiting)
            except BaseException:
                self._unsaved.update(record.key for record in waiting)
                raise

    async def forget(self, keys: Iterable[NamespacedName]) -> None:
        """Remove these records, durably. Raises OSError."""
        async with self._lock:
            gone = list(keys)
            for key in gone:
                self._release(key)
                self._records.pop(key, None)
                self._unsaved.discard(key)
            await trio.to_thread.run_sync(self._store.forget, gone)
