"""Approves and denies the certificate requests of nodes, and takes their join accounts back when they have been used."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Final

from tambourinefs import timestamps
from tambourinefs.controller import csr
from tambourinefs.controller.csr import Request, Verdict
from tambourinefs.errors import Conflict, NotFound, TambourineError
from tambourinefs.kube.api import Api
from tambourinefs.kube.backoff import Backoff
from tambourinefs.kube.csr import SIGNER
from tambourinefs.kube.reflector import Reflector
from tambourinefs.kube.resources import CLUSTER_ROLE_BINDINGS, CSRS, SERVICE_ACCOUNTS
from tambourinefs.model import cluster

log = logging.getLogger(__name__)
LOOK_EVERY: Final = 10.0  # seconds
GRACE: Final = 30.0  # seconds in which a host fetches its certificate with the join token


class Approver:
    """`run` in a thread of its own, beside its reflector."""

    def __init__(
        self, api: Api, namespace: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`namespace`: ours, where the join accounts are."""
        self._api = api
        self._namespace = namespace
        self._bell = threading.Event()
        self.requests = Reflector(
            api,
            CSRS,
            project=csr.project,
            bell=self._bell.set,
            field_selector=f"spec.signerName={SIGNER}",
        )
        self._clock = clock
        self._issued: dict[str, float] = {}  # join accounts by uid: when we first saw theirs issued

    def run(self, stop: threading.Event) -> None:
        """Work until `stop`."""
        backoff = Backoff(0.2, 10.0)
        while not stop.is_set():
            self._bell.wait(LOOK_EVERY)
            self._bell.clear()
            if self.look():
                backoff.reset()
            else:
                self._bell.set()
                stop.wait(backoff.next())

    def close(self) -> None:
        """End the waits of `run`."""
        self._bell.set()
        self.requests.close()

    def look(self) -> bool:
        """Settle what is open, and take back what has been used. False: something must be tried again soon.

        What cannot be settled holds up no other.
        """
        requests = list(self.requests.items.values())
        used = {one.uid for one in requests if one.approved and one.node}
        well = True
        for request in requests:
            verdict = csr.judge(request, self._namespace, used=request.uid in used)
            if verdict.what == "approve":
                used.add(request.uid)
            if verdict.what != "ignore":
                well &= self._tried(self._say, request, verdict)
        issued = {one.uid: one for one in requests if one.issued and one.node}
        now = self._clock()
        self._issued = {uid: self._issued.get(uid, now) for uid in issued}
        for uid, since in self._issued.items():
            if now < since + GRACE:
                continue
            if self._tried(self._take_back, issued[uid]):
                self._issued[uid] = float("inf")
            else:
                well = False
        return well

    def _tried(self, do: Callable[..., None], request: Request, *rest: Verdict) -> bool:
        try:
            do(request, *rest)
        except TambourineError as error:
            log.warning("%s: %s", request.name, error)
            return False
        return True

    def _say(self, request: Request, verdict: Verdict) -> None:
        if verdict.renews and not self._is_bound(verdict.renews):
            node = verdict.renews
            why = f"node {node} has been removed: it has no ClusterRoleBinding {cluster.NODE_USER_PREFIX}{node}; to let"
            verdict = Verdict("deny", f"{why} it come back: kubectl tambourine join {node}")
        approved = verdict.what == "approve"
        log.info("%s %s: %s", "approving" if approved else "denying", request.name, verdict.why)
        condition = {
            "type": "Approved" if approved else "Denied",
            "status": "True",
            "reason": "TambourineNode",
            "message": verdict.why,
            "lastUpdateTime": timestamps.now(),
        }
        patch = {
            "metadata": {"resourceVersion": request.version},
            "status": {"conditions": [*request.conditions, condition]},
        }
        try:
            self.requests.learn(self._api.merge(CSRS, request.name, "", patch, "approval"))
        except (Conflict, NotFound):  # the watch brings what it is now
            return

    def _is_bound(self, node: str) -> bool:
        """Whether it is a node still: an administrator who takes its role away ends it when its certificate ends."""
        try:
            self._api.get(CLUSTER_ROLE_BINDINGS, cluster.NODE_USER_PREFIX + node)
        except NotFound:
            return False
        return True

    def _take_back(self, request: Request) -> None:
        """A join account is good for one identity; one that was made again since is another."""
        account = cluster.join_account(request.node)
        if request.username != f"system:serviceaccount:{self._namespace}:{account}":
            return
        try:
            found = self._api.get(SERVICE_ACCOUNTS, account, self._namespace)
            if found["metadata"]["uid"] != request.uid:
                return
            self._api.delete(SERVICE_ACCOUNTS, account, self._namespace, uid=request.uid)
            log.info("took back %s", account)
        except NotFound:  # as when we ended between this and the next
            pass
        except Conflict:
            return
        try:  # looked at first: after each start the requests of before are gone through, and nothing is written for them
            self._api.get(CLUSTER_ROLE_BINDINGS, account)
            self._api.delete(CLUSTER_ROLE_BINDINGS, account)
        except NotFound:
            return
