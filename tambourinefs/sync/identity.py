"""Renews the node's identity long before it ends: another key, asked for as whom we are still."""

from __future__ import annotations

import datetime as dt
import logging
import os
import random
import threading
from pathlib import Path
from typing import Final

from cryptography import x509

from tambourinefs import files
from tambourinefs.errors import TambourineError
from tambourinefs.kube import csr
from tambourinefs.kube.api import Api
from tambourinefs.kube.backoff import Backoff

log = logging.getLogger(__name__)
AT: Final = (
    0.6,
    0.75,
)  # of its life: somewhere in between, so that a cluster that joined at once does not renew at once
ANSWER_SECONDS: Final = 120.0
LOOK_EVERY: Final = 3600.0  # seconds at most: clocks are set, hosts sleep


class Identity:
    """`run` in a thread of its own. Without the file (a pod's account, an administrator's kubeconfig) it does nothing."""

    def __init__(self, api: Api, node: str, path: Path) -> None:
        self._api = api
        self._node = node
        self._path = path
        self._at = random.uniform(*AT)  # noqa: S311 (jitter, no secret)
        self.problem = ""  # why it cannot be renewed; "" while nothing is wrong

    def run(self, stop: threading.Event) -> None:
        """Renew when it is due, until `stop`."""
        backoff = Backoff(5.0, 600.0)
        while True:
            wait = self._due_in()
            if wait is None:
                return
            if stop.wait(min(max(wait, 0.0), LOOK_EVERY)):
                return
            if wait > LOOK_EVERY:
                continue
            try:
                self._renew(stop)
                self.problem = ""
                backoff.reset()
            except (TambourineError, OSError) as error:
                if stop.is_set():
                    return
                self.problem = f"the identity of this node cannot be renewed: {error}"
                log.warning("%s", self.problem)
                if stop.wait(backoff.next()):
                    return

    def expires(self) -> dt.datetime | None:
        """When the certificate ends; None where there is none of ours."""
        found = self._certificate()
        return found.not_valid_after_utc if found else None

    def _certificate(self) -> x509.Certificate | None:
        try:
            return x509.load_pem_x509_certificate(self._path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            self.problem = f"{self._path} cannot be read: {error}"
            log.error("%s", self.problem)  # noqa: TRY400 (said in one line)
            return None

    def _due_in(self) -> float | None:
        """Seconds."""
        found = self._certificate()
        if found is None:
            return None
        begin, end = found.not_valid_before_utc, found.not_valid_after_utc
        due = begin + (end - begin) * self._at
        return (due - dt.datetime.now(dt.UTC)).total_seconds()

    def _renew(self, stop: threading.Event) -> None:
        pem = csr.request(self._api, self._node, seconds=ANSWER_SECONDS, stop=stop)
        directory = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            files.replace_durably(directory, self._path.name, pem, mode=0o600)
        finally:
            os.close(directory)
        log.info("renewed the identity of this node: good until %s", self.expires())
