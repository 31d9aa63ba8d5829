"""Single requests to a lab's API server as its administrator: a kubectl for each would cost half a second."""

from __future__ import annotations

import json
import ssl
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from tests.lab.tools import LabError


def ask(server: str, pki: Path, method: str, path: str, body: object = None) -> Any:
    """The decoded answer; a PATCH is a merge patch. LabError with the API server's words when it refuses."""
    kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
    request = urllib.request.Request(
        server + path,
        data=None if body is None else json.dumps(body).encode(),
        method=method,
        headers={"Content-Type": kind, **_who(pki)},
    )
    try:
        with urllib.request.urlopen(request, timeout=60, context=_trust(pki)) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            said = error.read().decode(errors="replace")
        raise LabError(f"{method} {path}: {said}") from error


def token(server: str, pki: Path, namespace: str, account: str) -> str:
    """One of a service account, good for a day, as `kubectl create token` gives it."""
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token"
    made = ask(server, pki, "POST", path, {"spec": {"expirationSeconds": 24 * 3600}})
    return str(made["status"]["token"])


def page(server: str, pki: Path, path: str) -> str:
    """A text of the API server's, as /metrics is."""
    request = urllib.request.Request(server + path, headers=_who(pki))
    with urllib.request.urlopen(request, timeout=60, context=_trust(pki)) as answer:
        said: bytes = answer.read()
    return said.decode()


def ready(server: str, pki: Path) -> bool:
    """Whether the API server says that it is."""
    try:
        return page(server, pki, "/readyz") == "ok"
    except urllib.error.HTTPError as error:
        error.close()
        return False
    except OSError:
        return False


def _who(pki: Path) -> dict[str, str]:
    return {"Authorization": f"Bearer {(pki / 'admin.token').read_text()}"}


def _trust(pki: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(pki / "ca.crt"))
