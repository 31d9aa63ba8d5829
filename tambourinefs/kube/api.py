"""Requests to the API server: read, list by pages, create, patch, apply, delete. Every one has a timeout."""

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
MAX_COMPLAINT: Final = 1 << 20  # bytes of an answer that says no
MERGE: Final = "application/merge-patch+json"
APPLY: Final = "application/apply-patch+yaml"


@dataclass(frozen=True, slots=True)
class Page:
    """Some objects of a list, and the version of the whole."""

    items: list[Object]
    resource_version: str


class Api:
    """Safe between threads. Raises what kube/errors.py and errors.py name; `writes` counts by (verb, plural)."""

    def __init__(self, access: Access, *, answer_seconds: float = ANSWER_SECONDS) -> None:
        """`answer_seconds`: how long one request may wait for its answer."""
        self._access = access
        self._answer_seconds = answer_seconds
        self._lock = threading.Lock()
        self.writes: Counter[tuple[str, str]] = Counter()
        self.clock = ServerClock()

    def cluster(self) -> tuple[str, str]:
        """(https://host:port, the certificate authority as PEM) of the API server that we talk to."""
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
        """All objects, `limit` at a time, consistent with each other. `name`: that one alone. Raises Gone in the middle
        when the list's version has been compacted: begin anew.
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
        """`subresource`: made of the object that `item`'s metadata names, such as a token of a service account."""
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
        """Server-side apply (Kubernetes: "Server-Side Apply"): `item` is all that `manager` has to say."""
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
        """Server-side apply of all that `manager` says of a status; `metadata` names the object.

        Raises NotFound where it is gone: none is made.
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
        """JSON merge patch (RFC 7386). `dry_run`: what would come of it, and nothing is written."""
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
        """Begin its deletion. `uid`: of that object alone, not of one made again under its name (else Conflict)."""
        options: Object = {"propagationPolicy": propagation}
        if uid:
            options["preconditions"] = {"uid": uid}
        path = resource.path(namespace, name)
        self._write("DELETE", "delete", resource, path, options, _what(resource, name, namespace))

    def stream(self, path: str, seconds: float) -> urllib3.BaseHTTPResponse:
        """The answer to a GET, unread; each read of it may wait so many seconds. The caller closes it."""
        return self._send("GET", path, None, "", path, stream=seconds)

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
        answer = self._send(method, path, body, content_type, what)
        try:
            decoded = msgspec.json.decode(answer.data)
        except msgspec.DecodeError as error:
            raise Unreachable(f"{what}: the API server's answer is not JSON") from error
        if not isinstance(decoded, dict):
            raise Unreachable(f"{what}: the API server's answer is not an object")
        return decoded

    def _send(
        self,
        method: str,
        path: str,
        body: object,
        content_type: str,
        what: str,
        stream: float = 0.0,
    ) -> urllib3.BaseHTTPResponse:
        """One request; with credentials read again, once more, where the API server does not know us."""
        data = None if body is None else msgspec.json.encode(body)
        for attempt in (1, 2):
            answer = self._request(method, path, data, content_type, what, stream)
            if answer.status < 300:
                return answer
            # What was preloaded is in `data`: read() would say "" of it.
            said = answer.read(MAX_COMPLAINT) if stream else answer.data[:MAX_COMPLAINT]
            failure = errors.from_answer(
                answer.status, said, answer.headers.get("Retry-After"), what
            )
            answer.release_conn()
            if attempt == 1 and isinstance(failure, errors.Unauthorized):
                self._access.refresh()
                continue
            raise failure
        raise AssertionError

    def _request(
        self,
        method: str,
        path: str,
        data: bytes | None,
        content_type: str,
        what: str,
        stream: float,
    ) -> urllib3.BaseHTTPResponse:
        host, pool, headers = self._access.connection()
        if content_type:
            headers["Content-Type"] = content_type
        try:
            answer: urllib3.BaseHTTPResponse = pool.request(
                method,
                host + path,
                body=data,
                headers=headers,
                preload_content=not stream,
                timeout=urllib3.Timeout(
                    connect=min(CONNECT_SECONDS, self._answer_seconds),
                    read=stream or self._answer_seconds,
                ),
                retries=False,
                redirect=False,
            )
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise Unreachable(
                f"{what}: the API server at {host} does not answer: {error}"
            ) from error
        self.clock.hear(answer.headers.get("Date"))
        return answer


def connect(kubeconfig: Any, *, user_agent: str) -> Api:
    """An Api by kubeconfig (a Path), or, where that is None, by the service account of our pod. Raises InvalidConfig."""
    return Api(Access(kubeconfig, user_agent))


def selectors(name: str, label_selector: str, field_selector: str) -> dict[str, str]:
    """The query that chooses objects. By name is the one choice that the API server has an index for."""
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
