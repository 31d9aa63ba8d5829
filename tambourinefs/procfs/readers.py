"""What readers hold, and how they and the kernel's caches are told that it is outdated.

A cached file is compared by content, a live one apart from the time that passed. Nothing here
blocks: the Invalidator's thread notifies, after the new state is in place.
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


class _ShowEvents:
    """Shows the events up to `number` and wakes their pollers. On the Invalidator's thread."""

    def __init__(self, log: EventLog, number: int, pollers: dict[int, PollHandle]) -> None:
        self._log = log
        self._number = number
        self._pollers = pollers

    def notify(self) -> None:
        self._log.shown = max(self._log.shown, self._number)
        with suppress(KeyError):  # trio's thread has just closed the last one
            while True:
                self._pollers.popitem()[1].notify()  # a handle is good for one call


class Readers:
    """The kernel's caches, open descriptors and polls."""

    def __init__(
        self, inodes: Inodes, services: Services, host: HostReader, events: EventLog
    ) -> None:
        self._inodes = inodes
        self._services = services
        self._host = host
        self._events = events
        self._invalidator: Invalidator | None = None
        self.of_events: dict[int, PollHandle] = {}  # polls that wait for events.log, by file handle

    def attach(self, invalidator: Invalidator) -> None:
        """The mount is initialized: from now on the kernel takes invalidations."""
        self._invalidator = invalidator

    def opened(self, rendering: Rendering) -> None:
        """One more descriptor; from now on the rendering is compared with each publish."""
        rendering.opens += 1
        slot = rendering.slot
        old = rendering.revision != self._services.revision_of(slot)
        if rendering.stale:
            return
        if old and slot.spec.live:  # a publish between lookup and open was not compared with it
            rendering.stale = rendering.notified = True
        elif slot.watched is None:
            slot.watched = {rendering}
        else:
            slot.watched.add(rendering)

    def closed(self, rendering: Rendering, handle: int) -> None:
        """One descriptor less."""
        rendering.opens -= 1
        rendering.pollers.pop(handle, None)
        if not rendering.opens:
            if rendering.slot.watched:
                rendering.slot.watched.discard(rendering)
            self._inodes.collect(rendering)

    def changed(self, slot: Slot, old: ServiceView, new: ServiceView) -> None:
        """The slot's service has a new view: drop the renderings that it outdates."""
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
        """The content by systemd's last figures, at a fixed moment: what two views say apart from
        the time that passes.
        """
        figures = figures_of(view.unit) if view.unit else Figures()
        return slot.spec.render(view, figures, self._host.reference)

    def drop(self, slot: Slot) -> None:
        """Make the name lead to another rendering."""
        rendering, slot.current = slot.current, None
        if rendering is None:
            return
        if self._invalidator is not None and rendering.lookups:
            self._invalidator.entry(slot.directory.inode, slot.name)
        self._mark_stale(rendering)
        self._inodes.collect(rendering)

    def expire_name(self, slot: Slot) -> None:
        """Have the kernel look a live file's name up again before its second is over."""
        if self._invalidator is not None and slot.current is not None and slot.current.lookups:
            self._invalidator.entry(slot.directory.inode, slot.name)

    def outdate(self, slot: Slot) -> None:
        """The descriptors that are open on this live file hold old content."""
        watched, slot.watched = slot.watched, None
        for rendering in watched or ():
            self._mark_stale(rendering)

    def _mark_stale(self, rendering: Rendering) -> None:
        rendering.stale = True
        if rendering.slot.watched:
            rendering.slot.watched.discard(rendering)
        if self._invalidator is None:
            rendering.notified = True
        elif rendering.opens or rendering.lookups:
            self._invalidator.wake((rendering,))

    def listing_changed(self, directory: Directory) -> None:
        """A name was added or removed."""
        if self._invalidator is not None and (directory.lookups or directory.parent is None):
            self._invalidator.inode(directory.inode, attributes_only=True)

    def directory_removed(self, directory: Directory) -> None:
        """A directory was removed from its parent."""
        assert directory.parent is not None
        if self._invalidator is not None and directory.lookups:
            self._invalidator.entry(directory.parent.inode, directory.name)

    def event(self) -> None:
        """events.log has new lines; called after the values that they make old were dropped."""
        if self._invalidator is None:
            self._events.shown = self._events.last
        else:
            self._invalidator.wake((_ShowEvents(self._events, self._events.last, self.of_events),))

    def resync(self) -> None:
        """Invalidations were lost: repeat them for every name that the kernel may keep and every
        poll that may wait.

        Runs on the Invalidator's thread.
        """
        invalidator = self._invalidator
        assert invalidator is not None
        for node in self._inodes.all():
            if isinstance(node, Rendering):
                if node.stale or node.slot.spec.live:
                    invalidator.entry(node.slot.directory.inode, node.slot.name)
                if node.stale:
                    invalidator.wake((node,))
            elif isinstance(node, Directory):
                invalidator.inode(node.inode, attributes_only=True)
                if node.removed and node.parent is not None:
                    invalidator.entry(node.parent.inode, node.name)
        self.event()
