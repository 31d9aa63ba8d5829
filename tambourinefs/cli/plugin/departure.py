"""The first step of an uninstallation: all Tambourines are deleted and released by their hosts."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Final

from tambourinefs.cli.common.text import counted
from tambourinefs.cli.plugin.removal import items, name_of, remaining, some
from tambourinefs.errors import Conflict, Incomplete, NotFound
from tambourinefs.kube import resources
from tambourinefs.model import cluster

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tambourinefs.kube.api import Api, Object

CONTROLLER_SILENT: Final = 40.0  # seconds; its Lease is renewed every few


def remove_services(api: Api, *, keep: bool, timeout: float) -> Iterator[str]:
    """Delete every Tambourine until the controller has released each; yields what is left.

    `keep`: with deletionPolicy orphan, so that services keep running. Raises Incomplete.
    """
    for left in remaining(partial(_delete_services, api, _Controller(api), keep=keep), timeout):
        owing = owing_nodes(api)
        nodes = f"; waiting for {some(owing)}" if owing else ""
        yield f"deleting {counted(len(left), 'Tambourine')}{nodes}"


def _delete_services(api: Api, controller: _Controller, *, keep: bool) -> list[Object]:
    left = items(api, resources.TAMBOURINES)
    if any(cluster.FINALIZER in (item["metadata"].get("finalizers") or ()) for item in left):
        controller.check()
    for item in left:
        if not item["metadata"].get("deletionTimestamp"):
            _delete_service(api, item, keep=keep)
    return left


def check_none_came_back(api: Api) -> None:
    """A new Tambourine has a finalizer that no controller removes: the CRD would hang. Raises Incomplete."""
    back = [name_of(item) for item in items(api, resources.TAMBOURINES)]
    if back:
        raise Incomplete(
            f"created during the uninstallation: {some(back)}",
            hint="stop what creates them (Argo CD, Flux), restore the controller (kubectl apply -k), and run this again",
        )


def _delete_service(api: Api, item: Object, *, keep: bool) -> None:
    metadata = item["metadata"]
    name, namespace, uid = metadata["name"], metadata["namespace"], metadata["uid"]
    try:
        if keep and item["spec"].get("deletionPolicy") != "orphan":
            orphan = {"metadata": {"uid": uid}, "spec": {"deletionPolicy": "orphan"}}
            api.merge(resources.TAMBOURINES, name, namespace, orphan)
        api.delete(resources.TAMBOURINES, name, namespace, uid=uid)
    except (NotFound, Conflict):
        return  # deleted, or created again: read again


def owing_nodes(api: Api) -> list[str]:
    """Existing nodes that have not yet acknowledged a removal."""
    there = {item["metadata"]["name"] for item in items(api, resources.CORE_NODES)}
    return sorted(
        member["metadata"]["name"]
        for member in items(api, resources.NODES)
        if member["metadata"]["name"] in there and _owes(member)
    )


def _owes(member: Object) -> bool:
    status = member.get("status") or {}
    done = {item["uid"]: item["generation"] for item in status.get("acknowledged") or []}
    return any(
        item.get("state", cluster.INSTALLED) != cluster.INSTALLED
        and done.get(item["uid"], -1) < item["generation"]
        for item in (member.get("spec") or {}).get("assignments") or []
    )


class _Controller:
    """Whether it runs: its Lease changes. Deletions wait for it, without it for ever."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._version = ""
        self._since = time.monotonic()

    def check(self) -> None:
        """Raises Incomplete when its Lease has not changed for too long."""
        leases = items(self._api, resources.LEASES, name=cluster.CONTROLLER)
        version = " ".join(sorted(item["metadata"]["resourceVersion"] for item in leases))
        if version != self._version:
            self._version, self._since = version, time.monotonic()
        if not leases or time.monotonic() - self._since > CONTROLLER_SILENT:
            raise Incomplete(
                "the controller does not run: only it completes the deletion of a Tambourine",
                hint="start it (kubectl get deployment -A -l app.kubernetes.io/name=tambourine-controller), "
                "and run this again",
            )
