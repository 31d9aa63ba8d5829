"""Renews the node's identity long before it ends: another key, asked for as whom we are still."""

from __future__ import annotations

import datetime as dt
import json
import logging
import random
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

from cryptography import x509

from tambourinefs import files
from tambourinefs.errors import HostError, TambourineError
from tambourinefs.kube import csr
from tambourinefs.kube.api import Api
from tambourinefs.kube.backoff import Backoff
from tambourinefs.model import paths

log = logging.getLogger(__name__)
# Of its life; somewhere in between, so that a cluster that joined at once does not renew at once.
AT: Final = (0.6, 0.75)
ANSWER_SECONDS: Final = 300.0
LOOK_EVERY: Final = 3600.0  # seconds at most: clocks are set, hosts sleep
RETRY: Final = (5.0, 600.0)  # seconds, from and to: each try posts a request


class Identity:
    """`run` in a thread of its own. Without the file (a pod's account, an administrator's kubeconfig) it does nothing."""

    def __init__(self, api: Api, node: str, path: Path, *, lifetime: int = csr.LIFETIME) -> None:
        """`lifetime`: seconds to ask for."""
        self._api = api
        self._node = node
        self._path = path
        self._lifetime = lifetime
        self._at = random.uniform(*AT)  # noqa: S311 (jitter, no secret)
        self.problem = ""  # why it cannot be renewed; "" while nothing is wrong
        self.tell: Callable[[], None] = lambda: None  # called when `problem` has changed

    def run(self, stop: threading.Event) -> None:
        """Renew when it is due, until `stop`."""
        if not self._path.exists():
            return
        backoff, wait = Backoff(*RETRY), 0.0
        while not stop.wait(wait):
            try:
                wait = min(self._look(stop), LOOK_EVERY)
            except (TambourineError, OSError, ValueError) as error:
                if stop.is_set():
                    return
                self._say(f"the identity of this node cannot be renewed{self._ended()}: {error}")
                wait = backoff.next()
            else:
                self._say("")
                backoff.reset()

    def _look(self, stop: threading.Event) -> float:
        """Renew it if it is due; returns in how many seconds it will be."""
        due = self._due_in()
        if due > 0:
            return due
        self._renew(stop)
        due = self._due_in()
        if due <= 0:  # and would be at each look: one request after the other
            raise HostError(
                "the new one is due for renewal already: is the clock of this host right?"
            )
        return due

    def _certificate(self) -> x509.Certificate:
        return x509.load_pem_x509_certificate(self._path.read_bytes())

    def _due_in(self) -> float:
        """Seconds; negative when it is overdue."""
        found = self._certificate()
        begin, end = found.not_valid_before_utc, found.not_valid_after_utc
        self._write_expiration(end)
        due = begin + (end - begin) * self._at
        return (due - dt.datetime.now(dt.UTC)).total_seconds()

    def _write_expiration(self, end: dt.datetime) -> None:
        """For the metrics of the agent, which has no library that parses certificates."""
        path = self._path.with_name(paths.EXPIRATIONS)
        text = json.dumps({"node": end.timestamp()}).encode()
        if not path.exists() or path.read_bytes() != text:
            files.replace_file_durably(path, text, mode=0o644)

    def _ended(self) -> str:
        """What to do where renewing comes too late."""
        try:
            end = self._certificate().not_valid_after_utc
        except (OSError, ValueError):
            return ""
        if end > dt.datetime.now(dt.UTC):
            return ""
        return f" (it ended {end:%Y-%m-%d %H:%M} UTC: kubectl tambourine join {self._node})"

    def _say(self, problem: str) -> None:
        if problem:
            log.warning("%s", problem)
        if problem != self.problem:
            self.problem = problem
            self.tell()

    def _renew(self, stop: threading.Event) -> None:
        pem = csr.request(
            self._api, self._node, seconds=ANSWER_SECONDS, stop=stop, lifetime=self._lifetime
        )
        files.replace_file_durably(self._path, pem, mode=0o600)
        end = self._certificate().not_valid_after_utc
        log.info("renewed the identity of this node: good until %s", end)
