"""The objects that the controller writes. What the API server answers is learnt at once; the watch brings it again later.

An object that is gone, or that somebody else wrote in between, is no error: the watch tells of it, and rings.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tambourinefs import timestamps
from tambourinefs.errors import AlreadyExists, Conflict, NotFound
from tambourinefs.kube.resources import INSTANCES, NODES, REVISIONS, TAMBOURINES
from tambourinefs.model import cluster, schema
from tambourinefs.model.status import READY

if TYPE_CHECKING:
    from tambourinefs.controller.world import Member, Report, Revision, Service, World
    from tambourinefs.kube.api import Api
    from tambourinefs.kube.namespaced import Namespaced
    from tambourinefs.kube.reflector import Reflector


class Objects:
    """Of one API server; the reflectors are those of the controller."""

    def __init__(
        self,
        api: Api,
        *,
        services: Namespaced[Service],
        members: Reflector[Member],
        reports: Namespaced[Report],
        revisions: Namespaced[Revision],
        again: Callable[[], None],
    ) -> None:
        """`again`: look once more, something was written in between."""
        self._api = api
        self._services = services
        self._members = members
        self._reports = reports
        self._revisions = revisions
        self._again = again

    def patch_finalizers(self, service: Service, finalizers: list[str]) -> None:
        """Raises NotFound."""
        metadata = {"uid": service.uid, "finalizers": finalizers}
        answer = self._api.merge(
            TAMBOURINES, service.name, service.namespace, {"metadata": metadata}
        )
        self._services.learn(answer)

    def make_revision(self, service: Service) -> None:
        """Of the content that its spec has now."""
        assert service.spec is not None
        spec = cluster.RevisionSpec(
            tambourine=service.name,
            digest=service.digest,
            content=cluster.content_of(service.spec),
        )
        item = {
            "apiVersion": schema.API_VERSION,
            "kind": cluster.REVISION_KIND,
            "metadata": {
                "name": service.revision,
                "namespace": service.namespace,
                "ownerReferences": [_owner(service)],
            },
            "spec": cluster.to_dict(spec),
        }
        try:
            self._revisions.learn(self._api.create(REVISIONS, item))
        except AlreadyExists:
            return

    def delete_revision(self, revision: Revision) -> None:
        """That one, not another of its name."""
        try:
            self._api.delete(REVISIONS, revision.name, revision.namespace, uid=revision.uid)
        except (NotFound, Conflict):
            return

    def make_instance(self, now: World, service: Service, node: str) -> None:
        """An empty one, for the node to fill; one that an older Tambourine left goes first."""
        assert service.spec is not None
        name = cluster.instance_name(service.name, node)
        old = now.reports.get((service.namespace, name))
        if old is not None:  # of a Tambourine that had this name before
            self.delete_instance(old)
            return
        item = {
            "apiVersion": schema.API_VERSION,
            "kind": cluster.INSTANCE_KIND,
            "metadata": {
                "name": name,
                "namespace": service.namespace,
                "ownerReferences": [_owner(service)],
            },
            "spec": {
                "nodeName": node,
                "tambourine": service.name,
                "unit": service.spec.unit_name,
            },
        }
        try:
            self._reports.learn(self._api.create(INSTANCES, item))
        except AlreadyExists:
            return

    def delete_instance(self, report: Report) -> None:
        """That one, not another of its name."""
        try:
            self._api.delete(INSTANCES, report.name, report.namespace, uid=report.uid)
        except (NotFound, Conflict):
            return

    def assign(self, member: Member, wanted: dict[str, cluster.Assignment]) -> None:
        """One write a node, of all that changed; somebody else's write in between is seen and looked at again."""
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
            self._members.learn(self._api.merge(NODES, member.name, "", patch))
        except Conflict:
            self._again()

    def write_status(self, service: Service, status: dict[str, Any]) -> bool:
        """False: the Tambourine is gone, or another has its name."""
        metadata = {"name": service.name, "namespace": service.namespace, "uid": service.uid}
        try:
            answer = self._api.apply_status(
                TAMBOURINES, metadata, status, manager=cluster.CONTROLLER
            )
        except (NotFound, Conflict):
            return False
        self._services.learn(answer)
        return True

    def take_word(self, report: Report, reason: str) -> None:
        """Say in the node's place that nothing is known; its sync takes the word back."""
        conditions = [_silent(reason, report.node, report.status.observed_generation)]
        status = {"active": "unknown", "activeState": "unknown", "conditions": conditions}
        metadata = {"name": report.name, "namespace": report.namespace}
        try:
            answer = self._api.apply_status(INSTANCES, metadata, status, manager=cluster.CONTROLLER)
        except (NotFound, Conflict):
            return
        self._reports.learn(answer)

    def take_word_of_node(self, member: Member) -> None:
        """The same of its TambourineNode: what it says of its agent was true when it was last heard."""
        status = {
            "conditions": [
                _silent(cluster.NODE_LOST, member.name, member.status.observed_generation)
            ]
        }
        try:
            answer = self._api.apply_status(
                NODES, {"name": member.name}, status, manager=cluster.CONTROLLER
            )
        except (NotFound, Conflict):
            return
        self._members.learn(answer)

    def delete_node(self, name: str) -> None:
        """The TambourineNode."""
        try:
            self._api.delete(NODES, name)
        except (NotFound, Conflict):
            return

    def ask_again(self, member: Member | None, since: str) -> None:
        """A node that lives, of which we said that it does not: it may never have noticed that we did not hear it."""
        if member is None or member.asked_again >= since:
            return
        patch = {"metadata": {"annotations": {cluster.RESYNC_REQUESTED_AT: since}}}
        try:
            self._members.learn(self._api.merge(NODES, member.name, "", patch))
        except (NotFound, Conflict):
            return


def _silent(reason: str, node: str, generation: int) -> dict[str, object]:
    said = {
        cluster.NODE_LOST: f"{node} was not heard of for {cluster.NODE_LOST_AFTER:g} s",
        cluster.HOST_UNREACHABLE: f"Bombshell or the agent does not answer on {node}: `tambourine doctor` there",
    }
    return {
        "type": READY,
        "status": "Unknown",
        "reason": reason,
        "message": said[reason],
        "observedGeneration": generation,
        "lastTransitionTime": timestamps.now(),
    }


def _owner(service: Service) -> dict[str, object]:
    return {
        "apiVersion": schema.API_VERSION,
        "kind": "Tambourine",
        "name": service.name,
        "uid": service.uid,
        "controller": True,
        "blockOwnerDeletion": False,
    }
