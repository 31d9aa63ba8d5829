"""Requests to the API server: read, list by pages, create, patch, apply, delete. Every request has a timeout.

They go by path through the kubernetes client's ApiClient.call_api (docs/decisions/017-kubernetes-client.md).
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

import msgspec
import urllib3

from tambourinefs.errors import TambourineError, Unreachable
from tambourinefs.kube import errors
from tambourinefs.kube.access import Access
from tambourinefs.kube.clock import ServerClock
from tambourinefs.kube.resources import Resource

Object = dict[str, Any]
CONNECT_SECONDS: Final = 5.0
ANSWER_SECONDS: Final = 30.0
MAX_ERROR: Final = 1 << 20  # bytes of an error's body that are read
MERGE: Final = "application/merge-patch+json"
APPLY: Final = "application/apply-patch+yaml"


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a list, and the resourceVersion of the whole list."""

    items: list[Object]
    resource_version: str


class Api:
    """Safe between threads. Raises the errors of kube/errors.py; `writes` counts requests by (verb, plural)."""

    def __init__(
        self,
        access: Access,
        *,
        answer_seconds: float = ANSWER_SECONDS,
        clock: ServerClock | None = None,
    ) -> None:
        """`answer_seconds`: how long one request may wait for its answer. `clock`: shared with another Api."""
        self._access = access
        self._answer_seconds = answer_seconds
        self._lock = threading.Lock()
        self.writes: Counter[tuple[str, str]] = Counter()
        self.clock = clock or ServerClock()

    def cluster(self) -> tuple[str, str]:
        """(URL of the API server, PEM of its certificate authority). Raises InvalidConfig."""
        return self._access.cluster()

    def get(self, resource: Resource, name: str, namespace: str = "") -> Object:
        return self._object("GET", resource.path(namespace, name), _what(resource, name, namespace))

    def list_pages(
        self,
        resource: Resource,
        namespace: str = "",
        *,
        name: str = "",
        label_selector: str = "",
        field_selector: str = "",
        limit: int = 500,
    ) -> Iterator[Page]:
        """All objects of one moment, `limit` at a time. `name`: that one alone. Raises Gone between two pages where the
        list's version has been compacted: list again from the start.
        """
        query = selectors(name, label_selector, field_selector) | {"limit": str(limit)}
        while True:
            path = f"{resource.path(namespace)}?{urlencode(query)}"
            answer = self._object("GET", path, resource.plural)
            metadata = answer.get("metadata") or {}
            yield Page(answer.get("items") or [], str(metadata.get("resourceVersion", "")))
            token = metadata.get("continue")
            if not token:
                return
            query["continue"] = token

    def create(self, resource: Resource, item: Object, subresource: str = "") -> Object:
        """`subresource`: of the object that `item`'s metadata names, such as a service account's token."""
        metadata = item["metadata"]
        namespace, name = metadata.get("namespace", ""), metadata.get("name", "")
        what = _what(resource, name, namespace)
        path = resource.path(namespace, name if subresource else "", subresource)
        return self._write("POST", "create", resource, path, item, what)

    def replace(self, resource: Resource, item: Object, subresource: str = "") -> Object:
        metadata = item["metadata"]
        namespace, name = metadata.get("namespace", ""), metadata["name"]
        path = resource.path(namespace, name, subresource)
        return self._write("PUT", "update", resource, path, item, _what(resource, name, namespace))

    def apply(
        self,
        resource: Resource,
        item: Object,
        *,
        manager: str,
        force: bool = True,
        subresource: str = "",
    ) -> Object:
        """Server-side apply (Kubernetes: "Server-Side Apply"): `item` has all the fields that `manager` owns."""
        metadata = item["metadata"]
        namespace, name = metadata.get("namespace", ""), metadata["name"]
        full = {"apiVersion": resource.api_version, "kind": resource.kind, **item}
        query = urlencode({"fieldManager": manager, "force": str(force).lower()})
        path = f"{resource.path(namespace, name, subresource)}?{query}"
        what = _what(resource, name, namespace)
        return self._write("PATCH", "apply", resource, path, full, what, APPLY)

    def apply_status(
        self, resource: Resource, metadata: Object, status: Object, *, manager: str
    ) -> Object:
        """Server-side apply of all status fields that `manager` owns; `metadata` names the object.

        Raises NotFound where the object is gone: apply to a subresource creates none.
        """
        item = {"metadata": metadata, "status": status}
        return self.apply(resource, item, manager=manager, subresource="status")

    def merge(
        self,
        resource: Resource,
        name: str,
        namespace: str,
        patch: Object,
        subresource: str = "",
        *,
        dry_run: bool = False,
    ) -> Object:
        """JSON merge patch (RFC 7386). `dry_run`: return the result without writing it."""
        path = resource.path(namespace, name, subresource)
        path += "?dryRun=All" if dry_run else ""
        what = _what(resource, name, namespace)
        return self._write("PATCH", "patch", resource, path, patch, what, MERGE)

    def delete(
        self,
        resource: Resource,
        name: str,
        namespace: str = "",
        *,
        uid: str = "",
        propagation: str = "Background",
    ) -> None:
        """Delete it. `uid`: only if the object of this name still has that UID; raises Conflict otherwise."""
        options: Object = {"propagationPolicy": propagation}
        if uid:
            options["preconditions"] = {"uid": uid}
        path = resource.path(namespace, name)
        self._write("DELETE", "delete", resource, path, options, _what(resource, name, namespace))

    def stream(self, path: str, seconds: float) -> urllib3.BaseHTTPResponse:
        """The unread answer to a GET; each read of it may wait `seconds`. The caller closes it."""
        return self._send("GET", path, path, read_seconds=seconds)

    def _write(
        self,
        method: str,
        verb: str,
        resource: Resource,
        path: str,
        body: object,
        what: str,
        content_type: str = "application/json",
    ) -> Object:
        with self._lock:
            self.writes[verb, resource.plural] += 1
        return self._object(method, path, what, body, content_type)

    def _object(
        self, method: str, path: str, what: str, body: object = None, content_type: str = ""
    ) -> Object:
        answer = self._send(method, path, what, body, content_type)
        try:
            decoded = msgspec.json.decode(answer.data)
        except msgspec.DecodeError as error:
            raise Unreachable(f"{what}: the API server's answer is not JSON") from error
        except urllib3.exceptions.HTTPError as error:
            raise Unreachable(f"{what}: the API server's answer was cut off: {error}") from error
        if not isinstance(decoded, dict):
            raise Unreachable(f"{what}: the API server's answer is not an object")
        return decoded

    def _send(
        self,
        method: str,
        path: str,
        what: str,
        body: object = None,
        content_type: str = "",
        read_seconds: float = 0.0,
    ) -> urllib3.BaseHTTPResponse:
        """One request and its unread answer; after 401 another one with the credentials read again."""
        try:
            return self._request(method, path, what, body, content_type, read_seconds)
        except errors.Unauthorized:
            self._access.refresh()
        return self._request(method, path, what, body, content_type, read_seconds)

    def _request(
        self,
        method: str,
        path: str,
        what: str,
        body: object,
        content_type: str,
        read_seconds: float,
    ) -> urllib3.BaseHTTPResponse:
        from kubernetes.client.exceptions import ApiException

        client = self._access.client()
        host = client.configuration.host
        headers = {**client.default_headers, "Accept": "application/json"}
        if content_type:
            headers["Content-Type"] = content_type
        client.update_params_for_auth(headers, None, ["BearerToken"], path, method, body)
        try:
            answer: urllib3.BaseHTTPResponse = client.call_api(
                method,
                host + path,
                headers,
                body,
                _request_timeout=(
                    min(CONNECT_SECONDS, self._answer_seconds),
                    read_seconds or self._answer_seconds,
                ),
            ).response
            self.clock.observe(answer.headers.get("Date"))
            if answer.status < 300:
                return answer
            message = answer.read(MAX_ERROR)
        # The client makes ApiException of a failed TLS handshake; answers of any status come back as they are.
        except (urllib3.exceptions.HTTPError, OSError, ApiException) as error:
            reason = " ".join(str(error).split())
            raise Unreachable(
                f"{what}: the API server at {host} does not answer: {reason}"
            ) from error
        answer.release_conn()
        raise errors.from_answer(answer.status, message, answer.headers.get("Retry-After"), what)


def connect(kubeconfig: Any, *, user_agent: str) -> Api:
    """An Api by kubeconfig (a Path), or by the pod's service account where that is None. Raises InvalidConfig."""
    return Api(Access(kubeconfig, user_agent))


def selectors(name: str, label_selector: str, field_selector: str) -> dict[str, str]:
    """The query of these selectors. metadata.name is the only field that the API server has an index for."""
    query = {}
    fields = [field_selector] if field_selector else []
    if name:
        fields.append(f"metadata.name={name}")
    if fields:
        query["fieldSelector"] = ",".join(fields)
    if label_selector:
        query["labelSelector"] = label_selector
    return query


def _what(resource: Resource, name: str, namespace: str) -> str:
    return f"{resource.kind} {namespace}/{name}" if namespace else f"{resource.kind} {name}"


__all__ = ["APPLY", "Api", "Object", "Page", "TambourineError", "connect", "selectors"]
