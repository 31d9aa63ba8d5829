"""Leases (coordination.k8s.io/v1): a node's heartbeat, and leader election.

Deadlines are of this process's monotonic clock. The times written into a Lease are informative: observers measure on their
own clocks since when the object has not changed.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import Final

from tambourinefs.errors import AlreadyExists, Conflict, NotFound, TambourineError
from tambourinefs.kube.api import Api, Object
from tambourinefs.kube.resources import LEASES
from tambourinefs.model import cluster
from tambourinefs.timestamps import now_micro

log = logging.getLogger(__name__)
LEASE_SECONDS: Final = 15.0
RENEW_BY: Final = 10.0
RETRY: Final = 2.0
# Of the elector's requests: one that hangs leaves time for another before RENEW_BY.
ANSWER_SECONDS: Final = 4.0


def beat(api: Api, namespace: str, name: str, holder: str) -> None:
    """Renew a node's Lease, or create it: one heartbeat."""
    spec = {
        "holderIdentity": holder,
        "leaseDurationSeconds": int(cluster.NODE_LOST_AFTER),
        "renewTime": now_micro(),
    }
    try:
        api.merge(LEASES, name, namespace, {"spec": spec})
    except NotFound:
        api.create(LEASES, {"metadata": {"name": name, "namespace": namespace}, "spec": spec})


class Elector:
    """Leader election: `acquire`, then `renew` in a thread while the main thread sits in `wait`, then `release`.

    `wait` returns five seconds before another process may lead, also while a renewal hangs where no timeout of a request
    applies (name resolution, a slow answer). The caller then ends the process at once.
    """

    def __init__(self, api: Api, namespace: str, name: str, identity: str) -> None:
        """`api`: one whose requests time out after ANSWER_SECONDS."""
        self._api = api
        self._namespace = namespace
        self._name = name
        self._identity = identity
        self._observed_version = ""
        self._observed_at = 0.0
        self._held: Object | None = None
        self._renewed = 0.0  # when the last answered renewal was sent: others count from later
        self._over = threading.Event()  # `renew` has ended
        self._lost = ""  # why, where not because of `stop`

    def acquire(self, stop: threading.Event) -> bool:
        """Wait until this process leads (True) or `stop` is set (False)."""
        while not stop.is_set():
            try:
                if self._try():
                    return True
            except TambourineError as error:
                log.warning("leader election: %s", error)
            stop.wait(RETRY)
        return False

    def renew(self, stop: threading.Event) -> None:
        """Renew every RETRY seconds until `stop`, or until the Lease is lost."""
        try:
            while not stop.wait(RETRY):
                if self._left() <= 0:  # this process was frozen: another may lead by now
                    return
                self._renew_once()
        except Conflict:
            self._lost = "another process holds the Lease"
        finally:
            self._over.set()

    def wait(self, stop: threading.Event) -> str:
        """Wait until `stop` is set or the Lease is lost: then why."""
        while not self._over.wait(max(0.0, self._left())):
            if self._left() <= 0:
                break
        if stop.is_set() and self._over.is_set():
            return self._lost
        return self._lost or f"the Lease was not renewed for {RENEW_BY:g} s"

    def release(self) -> None:
        """Let another process lead at once. Only after everything that writes as the leader has ended."""
        assert self._held is not None
        self._held["spec"]["holderIdentity"] = ""
        try:
            self._api.replace(LEASES, self._held)
        except TambourineError as error:
            log.info("cannot release the Lease: %s", error)

    def _left(self) -> float:
        """Seconds until this process must not lead any more."""
        return self._renewed + RENEW_BY - time.monotonic()

    def _renew_once(self) -> None:
        """Raises Conflict where another process holds the Lease."""
        sent = time.monotonic()
        try:
            self._held = self._replace()
        except Conflict:
            raise
        except TambourineError as error:
            log.warning("cannot renew the Lease: %s", error)
        else:
            self._renewed = sent

    def _replace(self) -> Object:
        assert self._held is not None
        self._held["spec"]["renewTime"] = now_micro()
        try:
            return self._api.replace(LEASES, self._held)
        except (
            Conflict
        ):  # written by another leader, or this process's own of before etcd was restored
            found = self._api.get(LEASES, self._name, self._namespace)
            if (found.get("spec") or {}).get("holderIdentity") != self._identity:
                raise
        found["spec"]["renewTime"] = now_micro()
        return self._api.replace(LEASES, found)

    def _try(self) -> bool:
        metadata = {"name": self._name, "namespace": self._namespace}
        self._renewed = time.monotonic()
        try:
            lease = self._api.get(LEASES, self._name, self._namespace)
        except NotFound:
            try:
                self._held = self._api.create(LEASES, {"metadata": metadata, "spec": self._spec(0)})
            except AlreadyExists:
                return False
            return True
        version = str(lease["metadata"]["resourceVersion"])
        spec = lease.get("spec") or {}
        now = time.monotonic()
        if version != self._observed_version:
            self._observed_version, self._observed_at = version, now
        free = not spec.get("holderIdentity") or spec["holderIdentity"] == self._identity
        if not free and now - self._observed_at < LEASE_SECONDS:
            return False
        lease["spec"] = self._spec(int(spec.get("leaseTransitions") or 0) + 1)
        try:
            self._held = self._api.replace(LEASES, lease)
        except Conflict:
            return False
        return True

    def _spec(self, transitions: int) -> Object:
        now = now_micro()
        return {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": int(LEASE_SECONDS),
            "acquireTime": now,
            "renewTime": now,
            "leaseTransitions": transitions,
        }
