"""Publishes the views that differ from those published before, with the last lines of the journal.
On the trio thread.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final, Protocol

import trio

from tambourinefs.agent.notifications import Notifications
from tambourinefs.agent.status import views
from tambourinefs.timestamps import now

if TYPE_CHECKING:
    from tambourinefs.agent.ports import Journal
    from tambourinefs.agent.status.conditions import ServiceState
    from tambourinefs.model.names import NamespacedName
    from tambourinefs.model.unit import Unit
    from tambourinefs.model.view import ServiceView

LINES: Final = 10  # as many as systemctl status shows
SETTLE: Final = 0.2  # seconds for journald to write, and for a burst of changes to end


class StatusSink(Protocol):
    """Where views are published (procfs.store.StatusStore); never blocks."""

    def publish(self, view: ServiceView) -> None:
        """Publish this view."""
        ...

    def withdraw(self, namespace: str, name: str) -> None:
        """Remove the view of this service."""
        ...


class Publisher:
    """`journal` None: log lines are not published on this host. `changed` is notified of services
    whose lines were read.
    """

    def __init__(
        self,
        sink: StatusSink,
        journal: Journal | None,
        changed: Notifications[NamespacedName],
    ) -> None:
        self._sink = sink
        self._journal = journal
        self._changed = changed
        self._views: dict[NamespacedName, ServiceView] = {}
        self._lines: dict[NamespacedName, tuple[str, ...]] = {}
        self._lines_of: dict[NamespacedName, str] = {}  # the invocation that wrote them
        self._logged: Notifications[NamespacedName] = Notifications()

    def lines(self, key: NamespacedName) -> tuple[str, ...]:
        """The lines that were read last."""
        return self._lines.get(key, ())

    def publish(self, state: ServiceState) -> None:
        """Publish the state of a service, if its view differs from the one published before."""
        key, before = state.key, self._views.get(state.key)
        view = views.view(self._without_old_lines(state), before, now())
        if view == before:
            return
        self._views[key] = view
        self._sink.publish(view)
        if _run_of(view.unit) != _run_of(before.unit if before else None):
            self._logged.add(key)

    def _without_old_lines(self, state: ServiceState) -> ServiceState:
        """A new invocation does not show the lines of the one before."""
        if state.unit is None or state.unit.invocation_id == self._lines_of.get(state.key, ""):
            return state
        return dataclasses.replace(state, journal=())

    def withdraw(self, key: NamespacedName) -> None:
        """Remove the view of a service."""
        if self._views.pop(key, None) is not None:
            self._sink.withdraw(*key)
        self._lines.pop(key, None)
        self._lines_of.pop(key, None)

    def journal_changed(self, units: frozenset[str] | None) -> None:
        """These units have logged something (None: any may have): read their last lines again."""
        for key, view in self._views.items():
            unit = view.unit
            if unit is not None and (units is None or {unit.name, unit.id} & units):
                self._logged.add(key)

    async def read_journal(self) -> None:
        """A task: read the last lines of units that changed or logged something."""
        while self._journal is not None:
            first = await self._logged.take()
            await trio.sleep(SETTLE)
            for key in sorted((first or set()) | self._logged.take_nowait()):
                await self._read(self._journal, key)

    async def _read(self, journal: Journal, key: NamespacedName) -> None:
        view = self._views.get(key)
        if view is None or view.unit is None:
            return
        unit = view.unit
        lines = await journal.last_lines(unit.id or unit.name, unit.invocation_id, LINES)
        if key in self._views:
            self._lines[key], self._lines_of[key] = lines, unit.invocation_id
            self._changed.add(key)


def _run_of(unit: Unit | None) -> tuple[str, ...]:
    """What changes when a unit has probably logged something."""
    if unit is None:
        return ()
    return (
        unit.invocation_id,
        unit.active_state,
        unit.sub_state,
        unit.result,
        str(unit.n_restarts),
    )
