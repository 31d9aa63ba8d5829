"""Approves and denies the certificate requests of nodes, and takes their join accounts back when they have been used."""

from __future__ import annotations

import datetime as dt
import logging
import threading
from typing import Final

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
LOOK_EVERY: Final = 60.0


class Approver:
    """`run` in a thread of its own, beside its reflector."""

    def __init__(self, api: Api, namespace: str) -> None:
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
        self._taken_back: set[str] = set()

    def run(self, stop: threading.Event) -> None:
        """Work until `stop`."""
        backoff = Backoff(0.2, 10.0)
        while not stop.is_set():
            self._bell.wait(LOOK_EVERY)
            self._bell.clear()
            try:
                for request in self.requests.items.values():
                    self._settle(request)
                backoff.reset()
            except TambourineError as error:
                log.warning("%s", error)
                self._bell.set()
                stop.wait(backoff.next())

    def close(self) -> None:
        """End the waits of `run`."""
        self._bell.set()
        self.requests.close()

    def _settle(self, request: Request) -> None:
        if request.issued and request.node and request.name not in self._taken_back:
            self._take_back(request)
        verdict = csr.judge(request, self._namespace)
        if verdict.what != "ignore":
            self._say(request, verdict)

    def _say(self, request: Request, verdict: Verdict) -> None:
        approved = verdict.what == "approve"
        log.info("%s %s: %s", "approving" if approved else "denying", request.name, verdict.why)
        condition = {
            "type": "Approved" if approved else "Denied",
            "status": "True",
            "reason": "TambourineNode",
            "message": verdict.why,
            "lastUpdateTime": dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        patch = {
            "metadata": {"resourceVersion": request.version},
            "status": {"conditions": [*request.conditions, condition]},
        }
        try:
            self.requests.learn(self._api.merge(CSRS, request.name, "", patch, "approval"))
        except (Conflict, NotFound):  # the watch brings what it is now
            return

    def _take_back(self, request: Request) -> None:
        """A join account is good for one identity."""
        account = cluster.join_account(request.node)
        if request.username == f"system:serviceaccount:{self._namespace}:{account}":
            for resource, namespace in (
                (CLUSTER_ROLE_BINDINGS, ""),
                (SERVICE_ACCOUNTS, self._namespace),
            ):
                try:
                    self._api.delete(resource, account, namespace)
                except NotFound:
                    continue
                log.info("took back %s %s", resource.kind, account)
        if len(self._taken_back) > 10_000:
            self._taken_back.clear()
        self._taken_back.add(request.name)
