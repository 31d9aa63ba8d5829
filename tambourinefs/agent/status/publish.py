"""Publishes views: only those that differ, with the journal's last lines when they have come. On
the trio thread.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final, Protocol

import trio

from tambourinefs.agent.status import views
from tambourinefs.timestamps import now

if TYPE_CHECKING:
    from collections.abc import Callable

    from tambourinefs.agent.ports import Journal
    from tambourinefs.agent.status.views import Known
    from tambourinefs.model.names import NamespacedName
    from tambourinefs.model.unit import Unit
    from tambourinefs.model.view import ServiceView

LINES: Final = 10  # as many as systemctl status shows
SETTLE: Final = (
    0.2  # seconds; what a burst of changes says is read once, and journald gets time to write
)


class StatusSink(Protocol):
    """Where views are pinned up; never blocks."""

    def publish(self, view: ServiceView) -> None:
        """Show this."""
        ...

    def withdraw(self, namespace: str, name: str) -> None:
        """Show it no more."""
        ...


class Publisher:
    """`known` gathers everything about a service; `journal` None: log lines are not published on
    this host.
    """

    def __init__(
        self, board: StatusSink, journal: Journal | None, known: Callable[[NamespacedName], Known]
    ) -> None:
        self._board = board
        self._journal = journal
        self._known = known
        self._views: dict[NamespacedName, ServiceView] = {}
        self._lines: dict[NamespacedName, tuple[str, ...]] = {}
        self._lines_of: dict[NamespacedName, str] = {}  # the invocation that wrote them
        self._spoke: set[NamespacedName] = set()
        self._wake = trio.Event()

    @property
    def keys(self) -> frozenset[NamespacedName]:
        """The services that are shown."""
        return frozenset(self._views)

    def lines(self, key: NamespacedName) -> tuple[str, ...]:
        """The last lines that were read of a service's journal."""
        return self._lines.get(key, ())

    def publish(self, key: NamespacedName) -> None:
        """Show what is known of a service now, if it differs from what is shown."""
        before = self._views.get(key)
        view = views.view(self._without_old_lines(key, self._known(key)), before, now())
        if view == before:
            return
        self._views[key] = view
        self._board.publish(view)
        if _run_of(view.unit) != _run_of(before.unit if before else None):
            self._spoke.add(key)
            self._wake.set()

    def _without_old_lines(self, key: NamespacedName, known: Known) -> Known:
        """A new invocation has said nothing yet: what the one before it said would be taken for its own."""
        if known.unit is None or known.unit.invocation_id == self._lines_of.get(key, ""):
            return known
        return dataclasses.replace(known, journal=())

    def withdraw(self, key: NamespacedName) -> None:
        """Show it no more."""
        if self._views.pop(key, None) is not None:
            self._board.withdraw(*key)
        self._lines.pop(key, None)
        self._lines_of.pop(key, None)
        self._spoke.discard(key)

    def heard(self, units: frozenset[str] | None) -> None:
        """These units have logged something (None: any may have): their last lines are read again."""
        for key, view in self._views.items():
            unit = view.unit
            if unit is not None and (units is None or {unit.name, unit.id} & units):
                self._spoke.add(key)
        if self._spoke:
            self._wake.set()

    async def read_journal(self) -> None:
        """A task: fetch the last lines of units that changed or spoke, in the background."""
        if self._journal is None:
            await trio.sleep_forever()
            raise AssertionError
        while True:
            await self._wake.wait()
            self._wake = trio.Event()
            await trio.sleep(SETTLE)
            keys, self._spoke = sorted(self._spoke), set()
            for key in keys:
                await self._read(self._journal, key)

    async def _read(self, journal: Journal, key: NamespacedName) -> None:
        view = self._views.get(key)
        if view is None or view.unit is None:
            return
        unit = view.unit
        lines = await journal.last_lines(unit.id or unit.name, unit.invocation_id, LINES)
        if key in self._views:
            self._lines[key], self._lines_of[key] = lines, unit.invocation_id
            self.publish(key)


def _run_of(unit: Unit | None) -> tuple[str, ...]:
    """What changes when a unit probably said something."""
    if unit is None:
        return ()
    return (
        unit.invocation_id,
        unit.active_state,
        unit.sub_state,
        unit.result,
        str(unit.n_restarts),
    )
