"""Leases (coordination.k8s.io/v1): the heartbeat of a node, and who leads.

Times are our own monotonic clock's; what stands in the Lease is for people and for others' monotonic clocks, which see only
that it changed.
"""

from __future__ import annotations

import datetime as dt
import logging
import threading
import time
from collections.abc import Callable
from typing import Final

from tambourinefs.errors import AlreadyExists, Conflict, NotFound, TambourineError
from tambourinefs.kube.api import Api, Object
from tambourinefs.kube.backoff import Backoff
from tambourinefs.kube.resources import LEASES

log = logging.getLogger(__name__)
LEASE_SECONDS: Final = 15.0
RENEW_BY: Final = 10.0
RETRY: Final = 2.0


def heartbeat(
    api: Api,
    namespace: str,
    name: str,
    holder: str,
    stop: threading.Event,
    every: float = 10.0,
    renewed: Callable[[], None] = lambda: None,
) -> None:
    """Renew the Lease until `stop`: one write each time, and `renewed` is told. Outages are waited out."""
    backoff = Backoff(1.0, every)
    while not stop.is_set():
        try:
            _beat(api, namespace, name, holder)
        except TambourineError as error:
            log.warning("heartbeat: %s", error)
            stop.wait(backoff.next())
            continue
        backoff.reset()
        renewed()
        stop.wait(every)


def _beat(api: Api, namespace: str, name: str, holder: str) -> None:
    spec = {"holderIdentity": holder, "leaseDurationSeconds": 40, "renewTime": _now()}
    try:
        api.merge(LEASES, name, namespace, {"spec": spec})
    except NotFound:
        api.create(LEASES, {"metadata": {"name": name, "namespace": namespace}, "spec": spec})


class Elector:
    """Work while we lead. Who cannot renew in time ends its process: half a leader must not go on."""

    def __init__(
        self, api: Api, namespace: str, name: str, identity: str, die: Callable[[], None]
    ) -> None:
        """`die` ends the process at once (os._exit): nothing of it may write after the lease has run out."""
        self._api = api
        self._namespace = namespace
        self._name = name
        self._identity = identity
        self._die = die
        self._seen = ""
        self._seen_at = 0.0
        self._held: Object | None = None

    def acquire(self, stop: threading.Event) -> bool:
        """Wait until we lead (True) or `stop` (False)."""
        while not stop.is_set():
            try:
                if self._try():
                    return True
            except TambourineError as error:
                log.warning("leader election: %s", error)
            stop.wait(RETRY)
        return False

    def hold(self, stop: threading.Event) -> None:
        """Renew until `stop`, then give the lease away. Ends the process when it cannot renew for ten seconds."""
        renewed = time.monotonic()
        while not stop.wait(RETRY):
            if (
                time.monotonic() - renewed > LEASE_SECONDS
            ):  # we were frozen: another may lead by now
                log.error("woke after the lease had run out; ending")
                self._die()
            try:
                self._renew()
                renewed = time.monotonic()
            except Conflict:
                log.error("another leads; ending")  # noqa: TRY400 (no trace: said in one line)
                self._die()
            except TambourineError as error:
                log.warning("cannot renew the lease: %s", error)
                if time.monotonic() - renewed > RENEW_BY:
                    log.error("cannot renew for %g s; ending", RENEW_BY)  # noqa: TRY400
                    self._die()
        self._release()

    def _try(self) -> bool:
        metadata = {"name": self._name, "namespace": self._namespace}
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
        if version != self._seen:
            self._seen, self._seen_at = version, now
        free = not spec.get("holderIdentity") or spec["holderIdentity"] == self._identity
        if not free and now - self._seen_at < LEASE_SECONDS:
            return False
        lease["spec"] = self._spec(int(spec.get("leaseTransitions") or 0) + 1)
        try:
            self._held = self._api.replace(LEASES, lease)
        except Conflict:
            return False
        return True

    def _renew(self) -> None:
        assert self._held is not None
        self._held["spec"]["renewTime"] = _now()
        try:
            self._held = self._api.replace(LEASES, self._held)
        except (
            Conflict
        ):  # written since: by another leader, or by a restored etcd that has ours of before
            found = self._api.get(LEASES, self._name, self._namespace)
            if (found.get("spec") or {}).get("holderIdentity") != self._identity:
                raise
            found["spec"]["renewTime"] = _now()
            self._held = self._api.replace(LEASES, found)

    def _release(self) -> None:
        assert self._held is not None
        self._held["spec"]["holderIdentity"] = ""
        try:
            self._api.replace(LEASES, self._held)
        except TambourineError as error:
            log.info("the lease was not given away: %s", error)

    def _spec(self, transitions: int) -> Object:
        now = _now()
        return {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": int(LEASE_SECONDS),
            "acquireTime": now,
            "renewTime": now,
            "leaseTransitions": transitions,
        }


def _now() -> str:
    """MicroTime, UTC."""
    return dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
