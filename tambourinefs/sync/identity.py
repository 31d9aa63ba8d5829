"""Renews the node's client certificate long before it expires: with a new key, requested as the current identity."""

from __future__ import annotations

import datetime as dt
import json
import logging
import random
import threading
from pathlib import Path
from typing import Final

from cryptography import x509

from tambourinefs import files
from tambourinefs.errors import HostError, TambourineError
from tambourinefs.kube import csr, workloop
from tambourinefs.kube.api import Api
from tambourinefs.kube.workloop import Backoff
from tambourinefs.model import paths

log = logging.getLogger(__name__)
# When to renew, as a share of its lifetime. Random, so that nodes that joined together do not renew together.
RENEW_AT: Final = (0.6, 0.75)
ANSWER_SECONDS: Final = 300.0
CHECK_EVERY: Final = 3600.0  # seconds at most: clocks are set, hosts are suspended
RETRY: Final = (5.0, 600.0)  # seconds, first and longest: each attempt creates a request


class Identity:
    """`run` in a thread of its own. Without the file (a pod's account, an administrator's kubeconfig) it ends at once."""

    def __init__(
        self,
        api: Api,
        node: str,
        path: Path,
        changed: threading.Event,
        *,
        lifetime: int = csr.LIFETIME,
    ) -> None:
        """`changed` is set when `problem` has changed. `lifetime`: seconds to ask for."""
        self._api = api
        self._node = node
        self._path = path
        self._changed = changed
        self._lifetime = lifetime
        self._renew_at = random.uniform(*RENEW_AT)  # noqa: S311 (jitter, no secret)
        self.problem = ""  # why it cannot be renewed, or ""

    def run(self, stop: threading.Event) -> None:
        """Renew when it is due, until `stop`."""
        if self._path.exists():
            workloop.run(lambda _: self._step(stop), stop, retry=Backoff(*RETRY))

    def _step(self, stop: threading.Event) -> float:
        """Renew it if that is due; returns the seconds until it is, or until the next check."""
        try:
            self._write_expiration()
            if self._due_in() <= 0:
                self._renew(stop)
                self._write_expiration()
                if self._due_in() <= 0:  # another request each time
                    raise HostError(
                        "the new certificate is due for renewal already: check `timedatectl` on the host"
                    )
        except (TambourineError, OSError, ValueError) as error:
            problem = f"the identity of this node cannot be renewed{self._expired()}: {error}"
            self._report(problem)
            raise HostError(problem) from error
        self._report("")
        return min(self._due_in(), CHECK_EVERY)

    def _certificate(self) -> x509.Certificate:
        return x509.load_pem_x509_certificate(self._path.read_bytes())

    def _due_in(self) -> float:
        """Seconds until renewal; negative when it is overdue."""
        found = self._certificate()
        begin, end = found.not_valid_before_utc, found.not_valid_after_utc
        due = begin + (end - begin) * self._renew_at
        return (due - dt.datetime.now(dt.UTC)).total_seconds()

    def _write_expiration(self) -> None:
        """For the metrics of the agent, which has no library that parses certificates."""
        path = self._path.with_name(paths.EXPIRATIONS)
        end = self._certificate().not_valid_after_utc
        text = json.dumps({"node": end.timestamp()}).encode()
        if not path.exists() or path.read_bytes() != text:
            files.replace_file_durably(path, text, mode=0o644)

    def _expired(self) -> str:
        """What to do where it has expired, or ""."""
        try:
            end = self._certificate().not_valid_after_utc
        except (OSError, ValueError):
            return ""
        if end > dt.datetime.now(dt.UTC):
            return ""
        return f" (it expired {end:%Y-%m-%d %H:%M} UTC: kubectl tambourine join {self._node})"

    def _report(self, problem: str) -> None:
        if problem != self.problem:
            self.problem = problem
            self._changed.set()

    def _renew(self, stop: threading.Event) -> None:
        pem = csr.request(
            self._api, self._node, seconds=ANSWER_SECONDS, stop=stop, lifetime=self._lifetime
        )
        files.replace_file_durably(self._path, pem, mode=0o600)
        end = self._certificate().not_valid_after_utc
        log.info("renewed the identity of this node; valid until %s", end)
