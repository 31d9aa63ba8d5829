"""Approves and denies the certificate requests of nodes, and deletes join accounts that have been used."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Final

from tambourinefs import timestamps
from tambourinefs.controller import csr_policy
from tambourinefs.controller.csr_policy import Decision, Request
from tambourinefs.errors import Conflict, NotFound
from tambourinefs.kube import workloop
from tambourinefs.kube.api import Api
from tambourinefs.kube.csr import SIGNER
from tambourinefs.kube.reflector import Reflector
from tambourinefs.kube.resources import CLUSTER_ROLE_BINDINGS, CSRS, SERVICE_ACCOUNTS
from tambourinefs.kube.workloop import Backoff, isolated, raise_first
from tambourinefs.model import cluster

log = logging.getLogger(__name__)
CHECK_EVERY: Final = 10.0  # seconds
GRACE: Final = 30.0  # seconds in which a host fetches its certificate with the join token


class Approver:
    """`run` in a thread of its own, and its reflector in another."""

    def __init__(
        self, api: Api, namespace: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`namespace`: of the join accounts."""
        self._api = api
        self._namespace = namespace
        self._changed = threading.Event()
        self.requests = Reflector(
            api,
            CSRS,
            project=csr_policy.project,
            changed=self._changed,
            field_selector=f"spec.signerName={SIGNER}",
        )
        self._clock = clock
        self._issued: dict[str, float] = {}  # join accounts by uid: since when theirs is issued

    def run(self, stop: threading.Event) -> None:
        """Work until `stop`."""
        workloop.run(lambda _: self.step(), stop, changed=self._changed, retry=Backoff(0.2, 10.0))

    def close(self) -> None:
        """Interrupt the waits of `run` and of the reflector, after `stop` was set."""
        self._changed.set()
        self.requests.close()

    def step(self) -> float:
        """Decide about open requests and delete used join accounts; returns the seconds until the next check."""
        requests = list(self.requests.items.values())
        problems: dict[str, str] = {}
        used = {one.uid for one in requests if one.approved and one.node}
        for request in requests:
            decision = csr_policy.decide(request, self._namespace, used=request.uid in used)
            if decision.action == "approve":
                used.add(request.uid)
            if decision.action != "ignore":
                with isolated(request.name, problems):
                    self._answer(request, decision)
        issued = {one.uid: one for one in requests if one.issued and one.node}
        now = self._clock()
        self._issued = {uid: self._issued.get(uid, now) for uid in issued}
        for uid, since in self._issued.items():
            if now < since + GRACE:
                continue
            with isolated(uid, problems):
                self._delete_join_account(issued[uid])
                self._issued[uid] = float("inf")
        raise_first(problems)
        return CHECK_EVERY

    def _answer(self, request: Request, decision: Decision) -> None:
        if decision.renews and not self._is_bound(decision.renews):
            node = decision.renews
            binding = cluster.NODE_USER_PREFIX + node
            why = f"node {node} has been removed: it has no ClusterRoleBinding {binding}; to let it join again, run"
            decision = Decision("deny", f"{why} kubectl tambourine join {node}")
        approved = decision.action == "approve"
        log.info("%s %s: %s", "approving" if approved else "denying", request.name, decision.why)
        condition = {
            "type": "Approved" if approved else "Denied",
            "status": "True",
            "reason": "TambourineNode",
            "message": decision.why,
            "lastUpdateTime": timestamps.now(),
        }
        patch = {
            "metadata": {"resourceVersion": request.version},
            "status": {"conditions": [*request.conditions, condition]},
        }
        try:
            answer = self._api.merge(CSRS, request.name, "", patch, "approval")
        except (Conflict, NotFound):  # the watch delivers what it is now
            return
        self.requests.record_write(answer)

    def _is_bound(self, node: str) -> bool:
        """Whether it is still a node: an administrator removes one by deleting its role binding."""
        try:
            self._api.get(CLUSTER_ROLE_BINDINGS, cluster.NODE_USER_PREFIX + node)
        except NotFound:
            return False
        return True

    def _delete_join_account(self, request: Request) -> None:
        """A join account is valid for one identity. One recreated since is another."""
        account = cluster.join_account(request.node)
        if request.username != f"system:serviceaccount:{self._namespace}:{account}":
            return
        try:
            found = self._api.get(SERVICE_ACCOUNTS, account, self._namespace)
            if found["metadata"]["uid"] != request.uid:
                return
            self._api.delete(SERVICE_ACCOUNTS, account, self._namespace, uid=request.uid)
            log.info("deleted join account %s", account)
        except NotFound:  # as when the process ended between this and the next
            pass
        except Conflict:
            return
        try:  # read first: after each start all former requests are checked, and none needs a write
            self._api.get(CLUSTER_ROLE_BINDINGS, account)
            self._api.delete(CLUSTER_ROLE_BINDINGS, account)
        except NotFound:
            return
