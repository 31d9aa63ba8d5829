"""Leases (coordination.k8s.io/v1): the heartbeat of a node, and who leads.

Times are our own monotonic clock's; what stands in the Lease is for people and for others' monotonic clocks, which see only
that it changed.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Final

from tambourinefs.errors import AlreadyExists, Conflict, NotFound, TambourineError
from tambourinefs.kube.api import Api, Object
from tambourinefs.kube.backoff import Backoff
from tambourinefs.kube.resources import LEASES
from tambourinefs.timestamps import now_micro

log = logging.getLogger(__name__)
LEASE_SECONDS: Final = 15.0
RENEW_BY: Final = 10.0
RETRY: Final = 2.0
ANSWER_SECONDS: Final = (
    4.0  # of the elector's requests: one that hangs can be tried again before RENEW_BY
)


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
    spec = {"holderIdentity": holder, "leaseDurationSeconds": 40, "renewTime": now_micro()}
    try:
        api.merge(LEASES, name, namespace, {"spec": spec})
    except NotFound:
        api.create(LEASES, {"metadata": {"name": name, "namespace": namespace}, "spec": spec})


class Elector:
    """Work while we lead. Who cannot renew in time ends its process: half a leader must not go on."""

    def __init__(
        self, api: Api, namespace: str, name: str, identity: str, die: Callable[[], None]
    ) -> None:
        """`api`: one that waits no longer than ANSWER_SECONDS. `die` ends the process at once (os._exit): nothing of it may
        write after the lease has run out.
        """
        self._api = api
        self._namespace = namespace
        self._name = name
        self._identity = identity
        self._die = die
        self._seen = ""
        self._seen_at = 0.0
        self._held: Object | None = None
        self._renewed = (
            0.0  # when the last renewal that was answered was sent: others count from later
        )

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
        """Renew until `stop`, then give the lease away. The process ends ten seconds after the last renewal, also while a
        request hangs: five seconds before another may lead.
        """
        over = threading.Event()
        threading.Thread(target=self._watch, args=(over,), daemon=True).start()
        try:
            while not stop.wait(RETRY):
                if self._left() <= 0:  # we were frozen: another may lead by now
                    self._end()
                self._renew_once()
        finally:
            over.set()
        self._release()

    def _watch(self, over: threading.Event) -> None:
        """Beside the renewals: those may hang where no timeout of a request counts (looking a name up, a slow answer)."""
        while (left := self._left()) > 0:
            if over.wait(left):
                return
        self._end()

    def _left(self) -> float:
        """Seconds until we must not lead any more."""
        return self._renewed + RENEW_BY - time.monotonic()

    def _end(self) -> None:
        log.error("the lease was not renewed for %g s; ending", RENEW_BY)
        self._die()

    def _renew_once(self) -> None:
        asked = time.monotonic()
        try:
            self._renew()
        except Conflict:
            log.error("another leads; ending")  # noqa: TRY400 (no trace: said in one line)
            self._die()
        except TambourineError as error:
            log.warning("cannot renew the lease: %s", error)
        else:
            self._renewed = asked

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
        self._held["spec"]["renewTime"] = now_micro()
        try:
            self._held = self._api.replace(LEASES, self._held)
        except (
            Conflict
        ):  # written since: by another leader, or by a restored etcd that has ours of before
            found = self._api.get(LEASES, self._name, self._namespace)
            if (found.get("spec") or {}).get("holderIdentity") != self._identity:
                raise
            found["spec"]["renewTime"] = now_micro()
            self._held = self._api.replace(LEASES, found)

    def _release(self) -> None:
        assert self._held is not None
        self._held["spec"]["holderIdentity"] = ""
        try:
            self._api.replace(LEASES, self._held)
        except TambourineError as error:
            log.info("the lease was not given away: %s", error)

    def _spec(self, transitions: int) -> Object:
        now = now_micro()
        return {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": int(LEASE_SECONDS),
            "acquireTime": now,
            "renewTime": now,
            "leaseTransitions": transitions,
        }
