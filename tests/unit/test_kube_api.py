"""Requests as an HTTP server receives them, and what its answers become."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from tambourinefs.errors import AlreadyExists, Conflict, NotFound, TambourineError, Unreachable
from tambourinefs.kube import errors
from tambourinefs.kube.api import Api, connect
from tambourinefs.kube.resources import NODES, TAMBOURINES


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 0.5  # of an idle connection: a test that holds an exception holds its pool, too
    requests: ClassVar[list[tuple[str, str, Any, Any]]] = []
    answers: ClassVar[list[tuple[int, dict[str, str], bytes]]] = []

    def _handle(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        body = json.loads(self.rfile.read(length)) if length else None
        self.requests.append((self.command, self.path, self.headers, body))
        code, headers, data = self.answers.pop(0)
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _handle  # noqa: N815

    def log_message(self, *_: object) -> None:
        """The test compares `requests`."""


def _answer(code: int = 200, item: Any = None, **headers: str) -> None:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    _Handler.answers.append((code, named, json.dumps(item or {"kind": "Any"}).encode()))


class _Http(ThreadingHTTPServer):
    daemon_threads = False  # server_close waits for them


class _Server:
    def __init__(self, directory: Path) -> None:
        self.http = _Http(("127.0.0.1", 0), _Handler)
        self.kubeconfig = directory / "config"
        self.give("first")

    def give(self, token: str) -> None:
        """Write a kubeconfig with this token."""
        config = {
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{self.http.server_port}"}}],
            "users": [{"name": "u", "user": {"token": token}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        }  # fmt: skip
        self.kubeconfig.write_text(json.dumps(config))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[_Server]:
    made = _Server(tmp_path)
    _Handler.requests.clear()
    _Handler.answers.clear()
    thread = threading.Thread(target=made.http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    made.http.shutdown()
    made.http.server_close()
    thread.join()


@pytest.fixture
def api(server: _Server) -> Iterator[Api]:
    made = connect(server.kubeconfig, user_agent="tambourine-test/1")
    yield made
    made._access.client().close()


def test_a_get_sends_credentials_and_user_agent(api: Api) -> None:
    _answer(item={"metadata": {"name": "h1"}})
    assert api.get(NODES, "h1") == {"metadata": {"name": "h1"}}
    ((method, path, headers, body),) = _Handler.requests
    assert (method, path, body) == (
        "GET", "/apis/tambourine.dev/v1alpha1/tambourinenodes/h1", None,
    )  # fmt: skip
    assert headers["Authorization"] == "Bearer first"
    assert headers["User-Agent"] == "tambourine-test/1"
    assert headers["Accept"] == "application/json"


def test_each_write_has_its_method_and_content_type(api: Api) -> None:
    item = {"metadata": {"name": "a", "namespace": "n"}, "spec": {"text": "ä"}}
    for _ in range(5):
        _answer()
    api.create(TAMBOURINES, item)
    api.replace(TAMBOURINES, item)
    api.merge(TAMBOURINES, "a", "n", {"spec": {}})
    api.apply(TAMBOURINES, item, manager="m", subresource="status")
    api.delete(TAMBOURINES, "a", "n", uid="u")
    path = "/apis/tambourine.dev/v1alpha1/namespaces/n/tambourines"
    full = {"apiVersion": "tambourine.dev/v1alpha1", "kind": "Tambourine", **item}
    sent = [
        (method, at, headers["Content-Type"], body)
        for method, at, headers, body in _Handler.requests
    ]
    assert sent == [
        ("POST", path, "application/json", item),
        ("PUT", f"{path}/a", "application/json", item),
        ("PATCH", f"{path}/a", "application/merge-patch+json", {"spec": {}}),
        ("PATCH", f"{path}/a/status?fieldManager=m&force=true", "application/apply-patch+yaml", full),
        ("DELETE", f"{path}/a", "application/json", {"propagationPolicy": "Background", "preconditions": {"uid": "u"}}),
    ]  # fmt: skip
    assert api.writes["patch", "tambourines"] == 1


def test_pages_continue_until_the_end(api: Api) -> None:
    _answer(item={"metadata": {"resourceVersion": "7", "continue": "x y"}, "items": [{"a": 1}]})
    _answer(item={"metadata": {"resourceVersion": "7"}, "items": [{"a": 2}]})
    pages = list(api.list_pages(NODES, name="h1"))
    assert [page.items for page in pages] == [[{"a": 1}], [{"a": 2}]]
    assert [path.partition("?")[2] for _, path, *_ in _Handler.requests] == [
        "fieldSelector=metadata.name%3Dh1&limit=500",
        "fieldSelector=metadata.name%3Dh1&limit=500&continue=x+y",
    ]


@pytest.mark.parametrize(
    ("code", "reason", "kind"),
    [
        (400, "BadRequest", errors.Invalid),
        (403, "Forbidden", errors.Forbidden),
        (404, "NotFound", NotFound),
        (409, "Conflict", Conflict),
        (409, "AlreadyExists", AlreadyExists),
        (410, "Expired", errors.Gone),
        (422, "Invalid", errors.Invalid),
        (500, "InternalError", Unreachable),
        (302, "Found", Unreachable),
    ],
)
def test_an_error_is_translated(
    api: Api, code: int, reason: str, kind: type[TambourineError]
) -> None:
    _answer(code, {"code": code, "reason": reason, "message": "because"})
    with pytest.raises(kind, match="TambourineNode h1: because") as caught:
        api.get(NODES, "h1")
    assert type(caught.value) is kind
    _answer(item={"metadata": {}})
    assert api.get(NODES, "h1") == {"metadata": {}}, "the connection is usable again"


def test_throttling_tells_when_to_retry(api: Api) -> None:
    _answer(429, {"message": "later"}, Retry_After="7")
    with pytest.raises(errors.Throttled) as caught:
        api.get(NODES, "h1")
    assert caught.value.retry_after == 7


def test_after_401_the_credentials_are_read_again_once(server: _Server, api: Api) -> None:
    _answer(401, {"message": "expired"})
    _answer(401, {"message": "expired"})
    with pytest.raises(errors.Unauthorized):
        api.get(NODES, "h1")
    server.give("second")
    _answer(item={"metadata": {}})
    api.get(NODES, "h1")
    tokens = [headers["Authorization"] for _, _, headers, _ in _Handler.requests]
    assert tokens == ["Bearer first", "Bearer first", "Bearer second"]


def test_an_answer_that_is_not_an_object_is_unreachable(api: Api) -> None:
    for data in (b"<html>", b"[]"):
        _Handler.answers.append((200, {}, data))
        with pytest.raises(Unreachable, match="the API server's answer is not"):
            api.get(NODES, "h1")


def test_a_server_that_does_not_listen_is_unreachable(server: _Server, api: Api) -> None:
    server.http.server_close()
    with pytest.raises(Unreachable, match="does not answer"):
        api.get(NODES, "h1")


def test_a_stream_is_read_as_it_comes(api: Api) -> None:
    _answer(item={"type": "BOOKMARK"})
    answer = api.stream("/apis/x?watch=true", 5.0)
    assert json.loads(answer.read1(1000)) == {"type": "BOOKMARK"}
    answer.close()
