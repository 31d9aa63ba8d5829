"""The first step of an uninstallation: every Tambourine goes, and every host lets go of its services."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from tambourinefs.cli.common.text import counted
from tambourinefs.cli.plugin.removal import items, name_of, some, until_gone
from tambourinefs.errors import Conflict, NotFound, NotReady
from tambourinefs.kube import resources
from tambourinefs.model import cluster

if TYPE_CHECKING:
    from collections.abc import Callable

    from tambourinefs.kube.api import Api, Object

CONTROLLER_SILENT: Final = 40.0  # seconds; its Lease is renewed every few


def remove_services(api: Api, *, keep: bool, timeout: float, tell: Callable[[str], None]) -> None:
    """Delete every Tambourine, and wait until the controller has let go of each.

    `keep`: with deletionPolicy orphan, so that what runs on the hosts runs on. Raises NotReady when they do not go.
    """
    controller = _Controller(api)

    def look() -> list[Object]:
        left = items(api, resources.TAMBOURINES)
        if any(cluster.FINALIZER in (item["metadata"].get("finalizers") or ()) for item in left):
            controller.check()
        for item in left:
            if not item["metadata"].get("deletionTimestamp"):
                _delete_service(api, item, keep=keep)
        return left

    def told(left: list[Object]) -> str:
        owing = owing_nodes(api)
        return f"{counted(len(left), 'Tambourine')} on the way out" + (
            f"; waiting for {some(owing)}" if owing else ""
        )

    until_gone(look, told, timeout, tell)


def check_none_came_back(api: Api) -> None:
    """One that was made since has our finalizer, and nobody who takes it off: the CRDs would hang. Raises NotReady."""
    back = [name_of(item) for item in items(api, resources.TAMBOURINES)]
    if back:
        raise NotReady(
            f"made while we were at it: {some(back)}",
            hint="stop what makes them (Argo CD, Flux), put the controller back (kubectl apply -k), and run this again",
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
        return  # gone, or made again: the next look sees it


def owing_nodes(api: Api) -> list[str]:
    """Nodes that exist and have not yet carried out that something shall go."""
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
    """Whether it works: its Lease changes. Deletions wait for it, and without it would wait for ever."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._version = ""
        self._since = time.monotonic()

    def check(self) -> None:
        """Raises NotReady when it has been silent for too long."""
        leases = items(self._api, resources.LEASES, name=cluster.CONTROLLER)
        version = " ".join(sorted(item["metadata"]["resourceVersion"] for item in leases))
        if version != self._version:
            self._version, self._since = version, time.monotonic()
        if not leases or time.monotonic() - self._since > CONTROLLER_SILENT:
            raise NotReady(
                "the controller does not run, and Tambourines go only when it has seen their hosts let go",
                hint="start it (kubectl get deployment -A -l app.kubernetes.io/name=tambourine-controller), "
                "and run this again",
            )
