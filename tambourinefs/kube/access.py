"""Credentials and connections to the API server, by the kubernetes client's own configuration loader.

The only module that imports the kubernetes client.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import yaml

from tambourinefs.errors import InvalidConfig

CONNECTIONS: Final = 20  # kept open: the controller has seven watches, eight writers and its Lease
_TOKEN_DIRECTORY: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")


class Access:
    """An ApiClient whose credentials are read again when their files change. Safe between threads."""

    def __init__(
        self, kubeconfig: Path | Sequence[Path] | None, user_agent: str, *, context: str = ""
    ) -> None:
        """`kubeconfig`: a file, or several that are merged (KUBECONFIG); None: the pod's service account. `context`: the
        context to use, "" for the current one. Raises InvalidConfig.
        """
        self._kubeconfigs = (kubeconfig,) if isinstance(kubeconfig, Path) else kubeconfig
        self._context = context
        self._user_agent = user_agent
        self._lock = threading.Lock()
        self._client: Any = None
        self._stamps_read: tuple[object, ...] = ()
        self.client()

    def client(self) -> Any:
        """The kubernetes.client.ApiClient with the credentials that are valid now."""
        with self._lock:
            if self._client is None or self._stamps() != self._stamps_read:
                self._load()
                self._stamps_read = self._stamps()
            return self._client

    def cluster(self) -> tuple[str, str]:
        """(URL of the API server, PEM of its certificate authority). Raises InvalidConfig."""
        configuration = self.client().configuration
        if not configuration.ssl_ca_cert:
            raise InvalidConfig(
                "names no certificate authority, by which a host could verify the API server",
                source=self._source,
                key="certificate-authority-data",
            )
        return configuration.host, Path(configuration.ssl_ca_cert).read_text()

    def refresh(self) -> None:
        """Read the credentials again at the next request: the API server answered 401."""
        with self._lock:
            self._stamps_read = ()

    @property
    def _source(self) -> str:
        return ", ".join(map(str, self._kubeconfigs or ())) or "in-cluster"

    def _load(self) -> None:
        from kubernetes import client as kubernetes
        from kubernetes import config

        configuration = kubernetes.Configuration()
        configuration.retries = False  # the callers decide what is tried again
        configuration.connection_pool_maxsize = CONNECTIONS
        try:
            if self._kubeconfigs is None:
                config.load_incluster_config(  # type: ignore[no-untyped-call]
                    client_configuration=configuration
                )
            else:
                config.load_kube_config(  # type: ignore[no-untyped-call]
                    os.pathsep.join(str(path) for path in self._kubeconfigs),
                    context=self._context or None,
                    client_configuration=configuration,
                    persist_config=False,
                )
        except (config.ConfigException, yaml.YAMLError, OSError, ValueError, TypeError) as error:
            raise InvalidConfig(
                f"cannot be read as a kubeconfig: {error}",
                source=self._source,
                hint="give --kubeconfig FILE, or run in a pod with a service account",
            ) from error
        old, self._client = self._client, kubernetes.ApiClient(configuration)
        self._client.user_agent = self._user_agent
        if old is not None:
            old.close()  # idle connections; a request in progress keeps its own

    def _files(self) -> list[Path]:
        """The files whose change means other credentials."""
        if self._kubeconfigs is None:
            return [_TOKEN_DIRECTORY / "ca.crt"]  # the client reads the token again by itself
        files = list(self._kubeconfigs)
        if self._client is not None:
            configuration = self._client.configuration
            files += [
                Path(name)
                for name in (configuration.ssl_ca_cert, configuration.cert_file, configuration.key_file)
                if name
            ]  # fmt: skip
        return files

    def _stamps(self) -> tuple[object, ...]:
        """What changes when one of the files does; a missing file counts as unchanged until it is back."""
        found: list[object] = []
        for path in self._files():
            try:
                status = os.stat(path)
            except OSError:
                continue
            found.append((str(path), status.st_ino, status.st_mtime_ns, status.st_size))
        return tuple(found)
