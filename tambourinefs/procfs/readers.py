"""What readers hold, and how they and the kernel learn that it is no longer true.

A cached file is compared by content, a live one apart from the time that passed. Nothing here blocks: bells are rung by the
Invalidator's thread, after the new state stands.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from tambourinefs.procfs.render.figures import Figures, figures_of
from tambourinefs.procfs.tree import Directory, Inodes, Rendering, Slot

if TYPE_CHECKING:
    from tambourinefs.fuse import Invalidator, PollHandle
    from tambourinefs.model.view import ServiceView
    from tambourinefs.procfs.events import EventLog
    from tambourinefs.procfs.host.reader import HostReader
    from tambourinefs.procfs.tree import Services


class _Show:
    """A bell: show the events up to `number`, and wake who waits for them. On the Invalidator's thread."""

    def __init__(self, log: EventLog, number: int, pollers: dict[int, PollHandle]) -> None:
        self._log = log
        self._number = number
        self._pollers = pollers

    def notify(self) -> None:
        self._log.shown = max(self._log.shown, self._number)
        with suppress(KeyError):  # the last one was closed just now, on trio's thread
            while True:
                self._pollers.popitem()[1].notify()  # a handle is good for one call


class Readers:
    """Everybody who has looked: the kernel's caches, open descriptors, polls."""

    def __init__(
        self, inodes: Inodes, services: Services, host: HostReader, events: EventLog
    ) -> None:
        self._inodes = inodes
        self._services = services
        self._host = host
        self._events = events
        self._bells: Invalidator | None = None
        self.of_events: dict[int, PollHandle] = {}  # polls that wait for events.log, by file handle

    def attach(self, bells: Invalidator) -> None:
        """The kernel is there: from now on it is told."""
        self._bells = bells

    def opened(self, rendering: Rendering) -> None:
        """A descriptor more holds it; from now on it matters whether it is still true."""
        rendering.opens += 1
        slot = rendering.slot
        old = rendering.revision != self._services.revision_of(slot)
        if rendering.stale:
            return
        if old and slot.spec.live:  # what came between lookup and open was not compared with it
            rendering.stale = rendering.told = True
        elif slot.watched is None:
            slot.watched = {rendering}
        else:
            slot.watched.add(rendering)

    def closed(self, rendering: Rendering, handle: int) -> None:
        """A descriptor less."""
        rendering.opens -= 1
        rendering.pollers.pop(handle, None)
        if not rendering.opens:
            if rendering.slot.watched:
                rendering.slot.watched.discard(rendering)
            self._inodes.collect(rendering)

    def changed(self, slot: Slot, old: ServiceView, new: ServiceView) -> None:
        """The slot's service has a new view: what that makes untrue is no longer current."""
        if slot.spec.live:
            differs = slot.watched and self._render(slot, old) != self._render(slot, new)
            self.expire_name(slot)
            if differs:
                self.outdate(slot)
        elif slot.current is not None:
            if self._render(slot, new) == slot.current.content:
                slot.current.revision = self._services.revision_of(slot)
            else:
                self.drop(slot)

    def _render(self, slot: Slot, view: ServiceView) -> bytes:
        """The content as systemd's own last figures have it, at a moment that is the same for all."""
        figures = figures_of(view.unit) if view.unit else Figures()
        return slot.spec.render(view, figures, self._host.reference)

    def drop(self, slot: Slot) -> None:
        """The slot's rendering is not current any more, and its name leads to another."""
        rendering, slot.current = slot.current, None
        if rendering is None:
            return
        if self._bells is not None and rendering.lookups:
            self._bells.entry(slot.directory.inode, slot.name)
        self._is_stale(rendering)
        self._inodes.collect(rendering)

    def expire_name(self, slot: Slot) -> None:
        """A live file's name is not what it was, though its second is not over."""
        if self._bells is not None and slot.current is not None and slot.current.lookups:
            self._bells.entry(slot.directory.inode, slot.name)

    def outdate(self, slot: Slot) -> None:
        """What descriptors hold of this live file is not current any more."""
        watched, slot.watched = slot.watched, None
        for rendering in watched or ():
            self._is_stale(rendering)

    def _is_stale(self, rendering: Rendering) -> None:
        rendering.stale = True
        if rendering.slot.watched:
            rendering.slot.watched.discard(rendering)
        if self._bells is None:
            rendering.told = True
        elif rendering.opens or rendering.lookups:
            self._bells.wake((rendering,))

    def listing_changed(self, directory: Directory) -> None:
        """A name came or went."""
        if self._bells is not None and (directory.lookups or directory.parent is None):
            self._bells.inode(directory.inode, attributes_only=True)

    def vanished(self, directory: Directory) -> None:
        """A directory is gone from its parent."""
        assert directory.parent is not None
        if self._bells is not None and directory.lookups:
            self._bells.entry(directory.parent.inode, directory.name)

    def event(self) -> None:
        """events.log has lines more; called after everything that they tell of was dropped."""
        if self._bells is None:
            self._events.shown = self._events.last
        else:
            self._bells.wake((_Show(self._events, self._events.last, self.of_events),))

    def resync(self) -> None:
        """Bells were lost: ring for every name that the kernel may keep and every poll that may wait.

        Runs on the Invalidator's thread.
        """
        bells = self._bells
        assert bells is not None
        for node in self._inodes.nodes():
            if isinstance(node, Rendering):
                if node.stale or node.slot.spec.live:
                    bells.entry(node.slot.directory.inode, node.slot.name)
                if node.stale:
                    bells.wake((node,))
            elif isinstance(node, Directory):
                bells.inode(node.inode, attributes_only=True)
                if node.gone and node.parent is not None:
                    bells.entry(node.parent.inode, node.name)
        self.event()
