"""The controller's writes. Answers are kept in the reflectors at once, before the watch delivers them.

An object that is gone, or that was written by another client in between, is not an error: the watch delivers that change.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from tambourinefs import timestamps
from tambourinefs.errors import AlreadyExists, Conflict, NotFound
from tambourinefs.kube.resources import INSTANCES, NODES, REVISIONS, TAMBOURINES
from tambourinefs.model import cluster, schema
from tambourinefs.model.status import READY

if TYPE_CHECKING:
    from tambourinefs.controller.snapshot import Member, Report, Revision, Service, Snapshot
    from tambourinefs.kube.api import Api
    from tambourinefs.kube.reflector import NamespacedReflector, Reflector


class Objects:
    """Of one API server; the reflectors are those of the controller."""

    def __init__(
        self,
        api: Api,
        *,
        services: NamespacedReflector[Service],
        members: Reflector[Member],
        reports: NamespacedReflector[Report],
        revisions: NamespacedReflector[Revision],
        changed: threading.Event,
    ) -> None:
        """`changed` is set after a conflict, to read and write again."""
        self._api = api
        self._services = services
        self._members = members
        self._reports = reports
        self._revisions = revisions
        self._changed = changed

    def patch_finalizers(self, service: Service, finalizers: list[str]) -> None:
        """Raises NotFound."""
        metadata = {"uid": service.uid, "finalizers": finalizers}
        answer = self._api.merge(
            TAMBOURINES, service.name, service.namespace, {"metadata": metadata}
        )
        self._services.record_write(answer)

    def create_revision(self, service: Service) -> None:
        """Create the revision of its current spec."""
        assert service.spec is not None
        spec = cluster.RevisionSpec(
            tambourine=service.name,
            digest=service.digest,
            content=cluster.content_of(service.spec),
        )
        item = _owned(service, service.revision, cluster.REVISION_KIND, cluster.to_dict(spec))
        with suppress(AlreadyExists):
            self._revisions.record_write(self._api.create(REVISIONS, item))

    def create_instance(self, now: Snapshot, service: Service, node: str) -> None:
        """Create an empty one, whose status the node writes; one of a former Tambourine is deleted first."""
        assert service.spec is not None
        name = cluster.instance_name(service.name, node)
        old = now.reports.get((service.namespace, name))
        if old is not None:
            self.delete_instance(old)
            return
        spec = {"nodeName": node, "tambourine": service.name, "unit": service.spec.unit_name}
        item = _owned(service, name, cluster.INSTANCE_KIND, spec)
        with suppress(AlreadyExists):
            self._reports.record_write(self._api.create(INSTANCES, item))

    def delete_revision(self, revision: Revision) -> None:
        """Delete this object, not another of its name."""
        with suppress(NotFound, Conflict):
            self._api.delete(REVISIONS, revision.name, revision.namespace, uid=revision.uid)

    def delete_instance(self, report: Report) -> None:
        """Delete this object, not another of its name."""
        with suppress(NotFound, Conflict):
            self._api.delete(INSTANCES, report.name, report.namespace, uid=report.uid)

    def delete_node(self, name: str) -> None:
        """Delete the TambourineNode."""
        with suppress(NotFound, Conflict):
            self._api.delete(NODES, name)

    def assign(self, member: Member, wanted: dict[str, cluster.Assignment]) -> None:
        """Write all assignments of a node at once, if they differ and nothing else has written it since."""
        after = tuple(
            sorted(wanted.values(), key=lambda item: (item.namespace, item.name, item.uid))
        )
        if set(after) == set(member.assignments):
            return
        patch = {
            "metadata": {"resourceVersion": member.version},
            "spec": {"assignments": [cluster.to_dict(item) for item in after]},
        }
        try:
            self._members.record_write(self._api.merge(NODES, member.name, "", patch))
        except Conflict:
            self._changed.set()

    def write_status(self, service: Service, status: dict[str, Any]) -> bool:
        """False where the Tambourine is gone, or another has its name."""
        metadata = {"name": service.name, "namespace": service.namespace, "uid": service.uid}
        try:
            answer = self._api.apply_status(
                TAMBOURINES, metadata, status, manager=cluster.CONTROLLER
            )
        except (NotFound, Conflict):
            return False
        self._services.record_write(answer)
        return True

    def mark_unknown(self, report: Report, reason: str) -> None:
        """Write in the node's place that the state is unknown; its sync overwrites it."""
        conditions = [_unknown(reason, report.node, report.status.observed_generation)]
        status = {"active": "unknown", "activeState": "unknown", "conditions": conditions}
        metadata = {"name": report.name, "namespace": report.namespace}
        with suppress(NotFound, Conflict):
            answer = self._api.apply_status(INSTANCES, metadata, status, manager=cluster.CONTROLLER)
            self._reports.record_write(answer)

    def mark_node_unknown(self, member: Member) -> None:
        """The same for its TambourineNode, whose status is of before the node was lost."""
        condition = _unknown(cluster.NODE_LOST, member.name, member.status.observed_generation)
        metadata, status = {"name": member.name}, {"conditions": [condition]}
        with suppress(NotFound, Conflict):
            answer = self._api.apply_status(NODES, metadata, status, manager=cluster.CONTROLLER)
            self._members.record_write(answer)

    def request_resync(self, member: Member | None, since: str) -> None:
        """Ask a node that was marked unknown for all statuses: it may not have noticed that its heartbeats were late."""
        if member is None or member.resync_requested_at >= since:
            return
        patch = {"metadata": {"annotations": {cluster.RESYNC_REQUESTED_AT: since}}}
        with suppress(NotFound, Conflict):
            self._members.record_write(self._api.merge(NODES, member.name, "", patch))


def _unknown(reason: str, node: str, generation: int) -> dict[str, object]:
    messages = {
        cluster.NODE_LOST: f"no heartbeat from {node} for {cluster.NODE_LOST_AFTER:g} s",
        cluster.HOST_UNREACHABLE: f"Bombshell or the agent on {node} does not answer; run `tambourine doctor` there",
    }
    return {
        "type": READY,
        "status": "Unknown",
        "reason": reason,
        "message": messages[reason],
        "observedGeneration": generation,
        "lastTransitionTime": timestamps.now(),
    }


def _owned(service: Service, name: str, kind: str, spec: dict[str, Any]) -> dict[str, Any]:
    """An object that the garbage collector deletes with the Tambourine."""
    owner = {
        "apiVersion": schema.API_VERSION,
        "kind": "Tambourine",
        "name": service.name,
        "uid": service.uid,
        "controller": True,
        "blockOwnerDeletion": False,
    }
    metadata = {"name": name, "namespace": service.namespace, "ownerReferences": [owner]}
    return {"apiVersion": schema.API_VERSION, "kind": kind, "metadata": metadata, "spec": spec}
