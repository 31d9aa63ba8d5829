"""The store: what the agent pins up (`publish`, `withdraw`), as the tree of names that readers of the mount see.

All of it runs on the trio thread and none of it blocks: publishing compares what readers hold, drops what is no longer
true and leaves the kernel's caches to the Invalidator's thread. New state first, then the bell.
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
    """Everything that is published. `inodes`, `readers`, `renderer` and `events` are for the file system's operations.

    The files that are about all services are there once `complete` was called: before, a service that is missing in them
    would only be one that the agent has not come to.
    """

    def __init__(self, host: HostReader) -> None:
        self._host = host
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
        """Every service is published by now. Said twice is nothing."""
        if not self._overviews:
            self._overviews = [self._slot(self.root, spec, None) for spec in TOP if spec.live]
            self._list_anew(self.root)

    def certificates(self, ends: Mapping[str, float]) -> None:
        """Tell in metrics.prom when certificates end (seconds since 1970)."""
        self._host.certificates = ends

    def publish(self, view: ServiceView) -> None:
        """Show this view in place of the last one of the same service. Cheap, never blocks; an equal view is nothing."""
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
        """Take the service's directory away; one that is not there is nothing."""
        service = self._services.remove(namespace, name)
        if service is None:
            return
        slots = list(_slots(service.directory))
        above = service.directory.parent
        assert above is not None
        self._remove(service.directory)
        if not above.children:
            self._remove(above)
        for slot in slots:
            self.readers.drop(slot)
            self.readers.outdate(slot)
        self._outdate_overviews()
        self._record(service.view, None)

    def _add(self, view: ServiceView) -> None:
        namespace, name = (
            part.encode(errors="surrogateescape") for part in (view.namespace, view.name)
        )
        # A namespace is a DNS label: without a dot, it never takes the place of a file of the top level.
        if not (_is_name(namespace) and _is_name(name)) or b"." in namespace:
            _log.warning(
                "%r/%r is no name of a directory and is not shown", view.namespace, view.name
            )
            return
        above = self.root.children.get(namespace) or self._directory(self.root, namespace)
        assert isinstance(above, Directory)
        service = self._services.add(view, self._directory(above, name))
        for spec in FILES:
            self._slot(service.directory, spec, service)
        self._outdate_overviews()
        self._record(None, view)

    def _directory(self, above: Directory, name: bytes) -> Directory:
        made = Directory(self.inodes.number(), above, name, time.time_ns())
        self.inodes.add(made)
        above.children[name] = made
        self._list_anew(above)
        return made

    def _slot(self, directory: Directory, spec: FileSpec, service: Service | None) -> Slot:
        slot = Slot(directory, spec, self.inodes.number(), service)
        directory.children[slot.name] = slot
        return slot

    def _remove(self, directory: Directory) -> None:
        above = directory.parent
        assert above is not None
        del above.children[directory.name]
        directory.children = {}
        directory.gone = True
        self._list_anew(above)
        self.readers.vanished(directory)
        self.inodes.collect(directory)

    def _list_anew(self, directory: Directory) -> None:
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
