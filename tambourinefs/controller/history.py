"""Which revisions are old enough to go: pure, of one World. As a Deployment's: the newest ten beside those in use."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING

from tambourinefs.model import cluster

if TYPE_CHECKING:
    from tambourinefs.controller.world import Revision, Service, World
    from tambourinefs.model.names import NamespacedName


def excess(world: World) -> Iterator[Revision]:
    """Of each Tambourine those beyond cluster.REVISIONS_KEPT, the oldest first.

    What a node is told of stays, and what the spec says now; what a removed Tambourine leaves is the garbage collector's.
    """
    histories: dict[str, list[Revision]] = defaultdict(list)
    for revision in world.revisions.values():
        histories[revision.owner].append(revision)
    by_uid = {service.uid: service for service in world.services.values()}
    told: set[NamespacedName] | None = None
    for uid, history in histories.items():
        service = by_uid.get(uid)
        if service is None or not _is_told_of(service) or len(history) <= cluster.REVISIONS_KEPT:
            continue
        if told is None:
            told = _told(world)
        used = told | {(service.namespace, service.revision)}
        old = [item for item in history if (item.namespace, item.name) not in used]
        old.sort(key=lambda item: (item.created, item.version))
        yield from old[: max(0, len(old) - cluster.REVISIONS_KEPT)]


def _is_told_of(service: Service) -> bool:
    return service.spec is not None and not service.deleted


def _told(world: World) -> set[NamespacedName]:
    return {
        (item.namespace, item.revision)
        for member in world.members.values()
        for item in member.assignments
    }
