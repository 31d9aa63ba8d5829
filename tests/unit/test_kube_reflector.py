"""A write is in memory before the watch delivers it, and never replaces what the watch has delivered."""

from __future__ import annotations

import json
import logging
import threading
import time
from typing import Any

import pytest

from tambourinefs.errors import TambourineError, Unreachable
from tambourinefs.kube import errors
from tambourinefs.kube.api import Page
from tambourinefs.kube.reflector import Reflector
from tambourinefs.kube.resources import NODES
from tests.announced import Announced

KEY = ("", "h1")


class _Api:
    """One page, of version 10."""

    def list_pages(self, *_: object, **__: object) -> list[Page]:
        return [Page([_item(7, "listed")], "10")]


def _item(version: int, value: str) -> dict[str, Any]:
    return {"metadata": {"name": "h1", "resourceVersion": str(version)}, "value": value}


def _event(kind: str, version: int, value: str = "") -> bytes:
    return json.dumps({"type": kind, "object": _item(version, value)}).encode()


def _reflector(changed: threading.Event | None = None) -> Reflector[str]:
    made: Reflector[str] = Reflector(
        _Api(),  # type: ignore[arg-type]
        NODES,
        project=lambda item: str(item["value"]),
        changed=changed,
    )
    made._list()
    return made


def test_a_recorded_write_is_in_the_items() -> None:
    it = _reflector()
    it.record_write(_item(11, "written"))
    assert it.get(KEY) == "written"


def test_a_late_answer_does_not_replace_a_later_change() -> None:
    it = _reflector()
    it._event(_event("MODIFIED", 11, "written"))
    it._event(_event("MODIFIED", 12, "another's"))
    it.record_write(_item(11, "written"))  # the answer of the write was slower than the watch
    assert it.get(KEY) == "another's"


def test_a_late_answer_does_not_restore_a_deleted_object() -> None:
    it = _reflector()
    it._event(_event("MODIFIED", 11, "written"))
    it._event(_event("DELETED", 12))
    it.record_write(_item(11, "written"))
    assert it.items == {}


def test_after_a_list_lower_versions_count_again() -> None:
    it = _reflector()
    it._event(_event("MODIFIED", 5000, "before the restore"))
    it._list()
    it.record_write(_item(11, "written"))
    assert it.get(KEY) == "written"


def test_a_bookmark_counts_and_is_no_change() -> None:
    changed = threading.Event()
    it = _reflector(changed)
    changed.clear()
    it._event(_event("BOOKMARK", 20))
    assert not changed.is_set()
    it.record_write(_item(11, "old"))
    assert it.get(KEY) == "listed"


def test_a_version_that_is_not_a_number_is_kept() -> None:
    it = _reflector()
    item = _item(0, "written")
    item["metadata"]["resourceVersion"] = "a1"
    it.record_write(item)
    assert it.get(KEY) == "written"


def test_close_while_the_watch_is_opened_ends_it() -> None:
    """The API server may have nothing to say for a minute."""
    it, stop = _reflector(), threading.Event()
    closed: list[bool] = []

    class Silent:
        def read1(self, size: int) -> bytes:
            raise AssertionError("waits for an event")

        def close(self) -> None:
            closed.append(True)

    def stream(path: str, timeout: float) -> Silent:
        stop.set()
        it.close()
        return Silent()

    it._api.stream = stream  # type: ignore[assignment,method-assign]
    it.run(stop)
    assert closed == [True]
    assert it.error == ""


class _Failing(_Api):
    """Its first watch fails; the second ends the reflector."""

    def __init__(self, error: TambourineError, stop: threading.Event) -> None:
        self.watches: list[float] = []
        self._error = error
        self._stop = stop

    def stream(self, *_: object) -> None:
        self.watches.append(time.monotonic())
        if len(self.watches) == 2:
            self._stop.set()
        raise self._error


@pytest.mark.parametrize(
    ("error", "level", "least"),
    [
        (errors.Throttled("storage is reinitializing", retry_after=0.4), logging.INFO, 0.4),
        (Unreachable("storage is reinitializing"), logging.WARNING, 0.1),
    ],
    ids=["429", "other"],
)
def test_a_throttled_watch_is_retried_when_the_server_says_and_is_no_warning(
    error: TambourineError,
    level: int,
    least: float,
    caplog: pytest.LogCaptureFixture,
    announce: Announced,
) -> None:
    if level == logging.WARNING:
        announce("reinitializing")
    caplog.set_level(logging.INFO)
    stop = threading.Event()
    api = _Failing(error, stop)
    it: Reflector[str] = Reflector(
        api,  # type: ignore[arg-type]
        NODES,
        project=lambda item: str(item["value"]),
    )
    it.run(stop)
    assert api.watches[1] - api.watches[0] >= least
    assert [record.levelno for record in caplog.records] == [level]
    assert not it.current


def test_an_answer_429_says_when_to_retry_and_503_does_not() -> None:
    busy = errors.from_answer(429, b'{"message": "later"}', "7", "tambourinenodes")
    assert isinstance(busy, errors.Throttled)
    assert busy.retry_after == 7
    assert not isinstance(errors.from_answer(503, b"", "7", "tambourinenodes"), errors.Throttled)
