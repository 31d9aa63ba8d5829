"""How we reach the API server and who we are there: the kubernetes client's own loader of kubeconfigs and tokens.

The one module that imports the kubernetes client. Of it we use what decides about credentials and TLS; requests go over
its connection pool by path, since its typed APIs would decode every object into model classes and hold 20 MB more.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import yaml

from tambourinefs.errors import InvalidConfig

CONNECTIONS: Final = 20  # kept open: the controller has seven watches, eight writers and its lease
_TOKEN_DIRECTORY: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")


class Access:
    """Credentials that are read again when their files change. Safe between threads."""

    def __init__(
        self, kubeconfig: Path | Sequence[Path] | None, user_agent: str, *, context: str = ""
    ) -> None:
        """`kubeconfig`: a file, or several that are read as one (KUBECONFIG); None: the service account of the pod that
        we run in. `context`: one of its contexts; "": its current one, of several files the last that names one. Raises
        InvalidConfig.
        """
        self._kubeconfigs = (kubeconfig,) if isinstance(kubeconfig, Path) else kubeconfig
        self._context = context
        self._user_agent = user_agent
        self._lock = threading.Lock()
        self._client: Any = None
        self._seen: tuple[object, ...] = ()
        self.connection()

    def connection(self) -> tuple[str, Any, dict[str, str]]:
        """(https://host:port, urllib3 pool manager, headers with who we are), of the credentials that hold now."""
        with self._lock:
            stamps = self._stamps()
            if self._client is None or stamps != self._seen:
                self._load()
                self._seen = self._stamps()
            client = self._client
            headers = {"User-Agent": self._user_agent, "Accept": "application/json"}
            token = client.configuration.auth_settings().get("BearerToken")
            if token and token["value"]:
                headers["Authorization"] = token["value"]
            return client.configuration.host, client.rest_client.pool_manager, headers

    def cluster(self) -> tuple[str, str]:
        """Where the API server is, and by whose certificate (PEM) it is known. Raises InvalidConfig."""
        self.connection()
        with self._lock:
            configuration = self._client.configuration
            if not configuration.ssl_ca_cert:
                raise InvalidConfig(
                    "names no certificate authority: how should a host know the API server?",
                    source=", ".join(map(str, self._kubeconfigs or ())) or "in-cluster",
                    key="certificate-authority-data",
                )
            return configuration.host, Path(configuration.ssl_ca_cert).read_text()

    def refresh(self) -> None:
        """Read the credentials again at the next request: the API server did not take them."""
        with self._lock:
            self._seen = ()

    def _load(self) -> None:
        from kubernetes import client as kubernetes
        from kubernetes import config

        configuration = kubernetes.Configuration()
        configuration.retries = False  # we decide what is tried again
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
                source=", ".join(str(path) for path in self._kubeconfigs or ()) or "in-cluster",
                hint="give --kubeconfig FILE, or run in a pod with a service account",
            ) from error
        old, self._client = self._client, kubernetes.ApiClient(configuration)
        if old is not None:
            old.rest_client.pool_manager.clear()

    def _files(self) -> list[Path]:
        """The files whose change means other credentials."""
        if self._kubeconfigs is None:
            return [_TOKEN_DIRECTORY / "ca.crt"]  # the client itself reads the token again
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
        """What changes when one of the files does; a file that is away counts as unchanged until it is back."""
        found: list[object] = []
        for path in self._files():
            try:
                status = os.stat(path)
            except OSError:
                continue
            found.append((str(path), status.st_ino, status.st_mtime_ns, status.st_size))
        return tuple(found)
