"""Which revisions to delete: all but those in use and the newest REVISIONS_KEPT beside them. Pure, of one Snapshot."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING

from tambourinefs.model import cluster

if TYPE_CHECKING:
    from tambourinefs.controller.snapshot import Revision, Service, Snapshot
    from tambourinefs.model.names import NamespacedName


def excess(snapshot: Snapshot) -> Iterator[Revision]:
    """The oldest revisions beyond the limit. In use are those that nodes are assigned and that of the current spec.

    Those of a removed Tambourine are left to the garbage collector.
    """
    histories: dict[str, list[Revision]] = defaultdict(list)
    for revision in snapshot.revisions.values():
        histories[revision.owner].append(revision)
    by_uid = {service.uid: service for service in snapshot.services.values()}
    assigned: set[NamespacedName] | None = None
    for uid, history in histories.items():
        service = by_uid.get(uid)
        if service is None or not _is_current(service) or len(history) <= cluster.REVISIONS_KEPT:
            continue
        if assigned is None:
            assigned = _assigned(snapshot)
        used = assigned | {(service.namespace, service.revision)}
        old = [item for item in history if (item.namespace, item.name) not in used]
        old.sort(key=lambda item: (item.created, item.version))
        yield from old[: max(0, len(old) - cluster.REVISIONS_KEPT)]


def _is_current(service: Service) -> bool:
    return service.spec is not None and not service.deleted


def _assigned(snapshot: Snapshot) -> set[NamespacedName]:
    return {
        (item.namespace, item.revision)
        for member in snapshot.members.values()
        for item in member.assignments
    }
