"""What is published: views by name, and the count of publishes that tells an old rendering from a new one."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tambourinefs.model.view import ServiceView
    from tambourinefs.procfs.tree import Directory, Slot


class Service:
    """One published service: its view, and which publish it came with."""

    __slots__ = ("directory", "published_ns", "revision", "view")

    def __init__(self, view: ServiceView, directory: Directory, revision: int) -> None:
        self.directory = directory
        self.show(view, revision)

    def show(self, view: ServiceView, revision: int) -> None:
        self.view = view
        self.revision = revision
        self.published_ns = time.time_ns()


class Services:
    """All of them. `revision` rises with every change of any."""

    def __init__(self) -> None:
        self.revision = 0
        self._by_name: dict[tuple[str, str], Service] = {}

    def __len__(self) -> int:
        return len(self._by_name)

    def get(self, namespace: str, name: str) -> Service | None:
        return self._by_name.get((namespace, name))

    def add(self, view: ServiceView, directory: Directory) -> Service:
        self.revision += 1
        made = Service(view, directory, self.revision)
        self._by_name[view.namespace, view.name] = made
        return made

    def show(self, service: Service, view: ServiceView) -> None:
        self.revision += 1
        service.show(view, self.revision)

    def remove(self, namespace: str, name: str) -> Service | None:
        self.revision += 1
        return self._by_name.pop((namespace, name), None)

    def views(self) -> list[ServiceView]:
        """All views, by namespace and name."""
        return [self._by_name[key].view for key in sorted(self._by_name)]

    def revision_of(self, slot: Slot) -> int:
        """Which publish the slot's content comes from: its service's last, or, at the top level, anybody's."""
        return self.revision if slot.service is None else slot.service.revision
