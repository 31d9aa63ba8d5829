"""The status store: the views that the agent publishes, as the tree of names that readers of the
mount see.

All of it runs on the trio thread and none of it blocks: publishing compares what readers hold,
drops what is outdated and leaves the kernel's caches to the Invalidator's thread. New state first,
then the notification.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Final

from tambourinefs.model.names import printable
from tambourinefs.procfs.events import EventLog, changes
from tambourinefs.procfs.readers import Readers
from tambourinefs.procfs.render.files import FILES, FileSpec
from tambourinefs.procfs.renderings import TOP, Renderer
from tambourinefs.procfs.tree import Directory, Inodes, Service, Services, Slot, Stream

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tambourinefs.model.view import ServiceView
    from tambourinefs.procfs.host.reader import HostReader

_log = logging.getLogger(__name__)

_EVENTS: Final = b"events.log"
_NAME_MAX: Final = 255  # bytes


class StatusStore:
    """Everything that is published. `inodes`, `readers`, `renderer` and `events` are for the file
    system's operations.

    The files about all services exist once `complete` was called: until then they would lack
    services that the agent has not published yet.
    """

    def __init__(self, host: HostReader) -> None:
        self.inodes = Inodes()
        self.events = EventLog()
        self._services = Services()
        self.readers = Readers(self.inodes, self._services, host, self.events)
        self.renderer = Renderer(self.inodes, self._services, host, self.events)
        self.root = Directory(self.inodes.number(), None, b"", time.time_ns())
        self.inodes.add(self.root)
        self._overviews: list[Slot] = []
        for spec in TOP:
            if not spec.live:
                self._slot(self.root, spec, None)
        stream = Stream(self.inodes.number(), _EVENTS, self.root.changed_ns)
        self.inodes.add(stream)
        self.root.children[_EVENTS] = stream

    def __len__(self) -> int:
        """How many services are published."""
        return len(self._services)

    def complete(self) -> None:
        """Every service is published by now. Idempotent."""
        if not self._overviews:
            self._overviews = [self._slot(self.root, spec, None) for spec in TOP if spec.live]
            self._listing_changed(self.root)

    def publish_expirations(self, expirations: Mapping[str, float]) -> None:
        """Show in metrics.prom when each certificate of this host expires (seconds since 1970)."""
        self._services.expirations = expirations

    def publish(self, view: ServiceView) -> None:
        """Show this view in place of the last one of its service. Cheap, never blocks; an equal
        view is a no-op.
        """
        service = self._services.get(view.namespace, view.name)
        if service is None:
            self._add(view)
            return
        old = service.view
        if old == view:
            return
        self._services.show(service, view)
        for slot in _slots(service.directory):
            self.readers.changed(slot, old, view)
        self._outdate_overviews()
        self._record(old, view)

    def withdraw(self, namespace: str, name: str) -> None:
        """Remove the service's directory; a no-op where there is none."""
        service = self._services.remove(namespace, name)
        if service is None:
            return
        slots = list(_slots(service.directory))
        parent = service.directory.parent
        assert parent is not None
        self._remove(service.directory)
        if not parent.children:
            self._remove(parent)
        for slot in slots:
            self.readers.drop(slot)
            self.readers.outdate(slot)
        self._outdate_overviews()
        self._record(service.view, None)

    def _add(self, view: ServiceView) -> None:
        namespace, name = (
            part.encode(errors="surrogateescape") for part in (view.namespace, view.name)
        )
        # A namespace is a DNS label: without a dot, it cannot hide a file of the top level.
        if not (_is_name(namespace) and _is_name(name)) or b"." in namespace:
            _log.warning(
                "%r/%r is not a valid directory name: its status is not shown",
                view.namespace,
                view.name,
            )
            return
        parent = self.root.children.get(namespace) or self._directory(self.root, namespace)
        assert isinstance(parent, Directory)
        service = self._services.add(view, self._directory(parent, name))
        for spec in FILES:
            self._slot(service.directory, spec, service)
        self._outdate_overviews()
        self._record(None, view)

    def _directory(self, parent: Directory, name: bytes) -> Directory:
        made = Directory(self.inodes.number(), parent, name, time.time_ns())
        self.inodes.add(made)
        parent.children[name] = made
        self._listing_changed(parent)
        return made

    def _slot(self, directory: Directory, spec: FileSpec, service: Service | None) -> Slot:
        slot = Slot(directory, spec, self.inodes.number(), service)
        directory.children[slot.name] = slot
        return slot

    def _remove(self, directory: Directory) -> None:
        parent = directory.parent
        assert parent is not None
        del parent.children[directory.name]
        directory.children = {}
        directory.removed = True
        self._listing_changed(parent)
        self.readers.directory_removed(directory)
        self.inodes.collect(directory)

    def _listing_changed(self, directory: Directory) -> None:
        directory.changed_ns = time.time_ns()
        self.readers.listing_changed(directory)

    def _record(self, old: ServiceView | None, new: ServiceView | None) -> None:
        of = new or old
        assert of is not None
        service = printable(f"{of.namespace}/{of.name}").replace(" ", "\\x20")
        before = self.events.last
        for text in changes(old, new):
            self.events.add(time.time_ns() // 1000, service, text)
        if self.events.last != before:
            self.readers.event()

    def _outdate_overviews(self) -> None:
        for slot in self._overviews:
            self.readers.expire_name(slot)
            self.readers.outdate(slot)


def _slots(directory: Directory) -> Iterator[Slot]:
    return (child for child in directory.children.values() if isinstance(child, Slot))


def _is_name(name: bytes) -> bool:
    return (
        0 < len(name) <= _NAME_MAX
        and name not in {b".", b".."}
        and b"/" not in name
        and b"\0" not in name
    )
