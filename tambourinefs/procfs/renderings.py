"""Which rendering a name stands for now: made by a lookup, shared by all lookups in the same
second.
"""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Final

import trio

from tambourinefs.procfs import overview
from tambourinefs.procfs.render.files import FileSpec, Needs
from tambourinefs.procfs.tree import Inodes, Rendering, Slot

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tambourinefs.model.view import ServiceView
    from tambourinefs.procfs.events import EventLog
    from tambourinefs.procfs.host.reader import HostReader
    from tambourinefs.procfs.tree import Services

SHARED_SECONDS: Final = 1.0  # that one rendering of a live file is shared for


def _never(*_: object) -> bytes:
    raise AssertionError("the files of the top level are rendered from all views")


TOP: Final = (
    FileSpec("version.txt", _never),
    FileSpec("services.txt", _never, live=True),
    FileSpec("services.json", _never, live=True),
    FileSpec("metrics.prom", _never, live=True),
)


class Renderer:
    """Makes renderings."""

    def __init__(
        self, inodes: Inodes, services: Services, host: HostReader, events: EventLog
    ) -> None:
        self._inodes = inodes
        self._services = services
        self._host = host
        self._events = events
        self._tops: dict[str, Callable[[list[ServiceView]], Awaitable[bytes]]] = {
            "version.txt": overview.version_txt,
            "services.txt": overview.services_txt,
            "services.json": partial(overview.services_json, host=host),
            "metrics.prom": self._metrics,
        }

    async def current(self, slot: Slot) -> Rendering:
        """The rendering that the name stands for now; one of a live file is at most a second old."""
        ready = self._still_current(slot)
        if ready is not None:
            return ready
        if slot.service is not None and slot.spec.needs < Needs.PROCESSES:
            view = slot.service.view
            figures = self._host.figures(view.unit, slot.spec.needs)
            content = slot.spec.render(view, figures, self._host.moment())
            return self._settle(slot, content, slot.service.revision)
        if slot.lock is None:
            slot.lock = trio.Lock()
        async with slot.lock:  # the first one renders for all that wait
            return self._still_current(slot) or await self._make(slot)

    def _still_current(self, slot: Slot) -> Rendering | None:
        rendering = slot.current
        if rendering is None or not slot.spec.live:
            return rendering
        return rendering if self.seconds_left(rendering) else None

    def seconds_left(self, rendering: Rendering) -> float:
        """How long a live file's rendering may still be shared: not at all where a publish came
        while it was made.
        """
        if rendering.revision != self._services.revision_of(rendering.slot):
            return 0
        return max(rendering.born + SHARED_SECONDS - trio.current_time(), 0)

    async def _make(self, slot: Slot) -> Rendering:
        """Render what takes more than a moment: the process list, the overviews."""
        revision = self._services.revision_of(slot)
        if slot.service is None:
            content = await self._tops[slot.spec.name](self._services.views())
        else:
            view = slot.service.view
            figures = self._host.figures(view.unit, slot.spec.needs)
            figures = await self._host.with_processes(view.unit, figures)
            content = slot.spec.render(view, figures, self._host.moment())
        return self._settle(slot, content, revision)

    async def _metrics(self, views: list[ServiceView]) -> bytes:
        return await overview.metrics_prom(
            views, self._host, self._services.expirations, self._events.last
        )

    def _settle(self, slot: Slot, content: bytes, revision: int) -> Rendering:
        """Make the content the slot's rendering, or keep the old one where it is equal."""
        old = slot.current
        now = trio.current_time()
        if old is not None and not old.stale and old.content == content:
            old.born, old.revision = now, revision
            return old
        cached = slot.service if not slot.spec.live else None
        # A cached file's mtime changes with its content, not with lookups: rsync and make compare
        # it.
        made_ns = cached.published_ns if cached else time.time_ns()
        made = Rendering(
            self._inodes.number(), slot, content, revision=revision, born=now, made_ns=made_ns
        )
        self._inodes.add(made)
        slot.current = made
        if old is not None:
            self._inodes.collect(old)
        return made
