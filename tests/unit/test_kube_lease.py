"""Who leads and cannot renew ends before another may lead: refused, cut off, or with a request that hangs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tambourinefs.errors import Conflict, TambourineError, Unreachable
from tambourinefs.kube import lease
from tambourinefs.kube.errors import Forbidden
from tambourinefs.kube.lease import Elector
from tests.announced import Announced


class _Api:
    """One Lease; `renewal` is what becomes of a write of it."""

    def __init__(self) -> None:
        self.version = 1
        self.holder = ""
        self.renewal: Callable[[], None] = lambda: None
        self.renewed = threading.Event()

    def get(self, *_: object) -> dict[str, Any]:
        return self._lease()

    def replace(self, _: object, item: dict[str, Any]) -> dict[str, Any]:
        self.renewal()
        self.holder = item["spec"]["holderIdentity"]
        self.version += 1
        self.renewed.set()
        return self._lease()

    def _lease(self) -> dict[str, Any]:
        metadata = {"name": "l", "namespace": "n", "resourceVersion": str(self.version)}
        return {"metadata": metadata, "spec": {"holderIdentity": self.holder}}


@contextmanager
def _leading(api: _Api, died: threading.Event) -> Iterator[threading.Event]:
    """An elector that has the lease and holds it in a thread; yields its `stop`. It has not ended by itself."""
    stop = threading.Event()
    elector = Elector(api, "n", "l", "me", died.set)  # type: ignore[arg-type]
    assert elector.acquire(stop)
    api.renewed.clear()
    thread = threading.Thread(target=elector.hold, args=(stop,))
    thread.start()
    try:
        assert api.renewed.wait(10)
        assert not died.is_set()
        yield stop
    finally:
        stop.set()
        thread.join(10)
        assert not thread.is_alive()


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "RETRY", 0.01)
    monkeypatch.setattr(lease, "RENEW_BY", 1.0)


def test_a_renewal_that_hangs_ends_the_leader_while_it_hangs(announce: Announced) -> None:
    announce("not renewed")
    api, died, answer = _Api(), threading.Event(), threading.Event()
    with _leading(api, died):
        api.renewal = lambda: _hang(answer)
        assert died.wait(10)
        assert not answer.is_set()
        api.renewal = lambda: None
        answer.set()


def _hang(answer: threading.Event) -> None:
    assert answer.wait(20)


@pytest.mark.parametrize("error", [Unreachable("nobody answers"), Forbidden("no rights")])
def test_renewals_that_fail_end_the_leader(error: TambourineError, announce: Announced) -> None:
    announce("not renewed")
    announce(str(error))
    api, died = _Api(), threading.Event()

    def fails() -> None:
        raise error

    with _leading(api, died):
        api.renewal = fails
        assert died.wait(10)
        api.renewal = lambda: None


def test_another_that_leads_ends_the_leader_at_once(announce: Announced) -> None:
    announce("another leads")
    api, died = _Api(), threading.Event()

    def conflict() -> None:
        raise Conflict("written since")

    with _leading(api, died):
        api.holder = "another"
        api.renewal = conflict
        assert died.wait(10)


def test_who_renews_leads_on_and_gives_the_lease_away_at_the_end() -> None:
    api, died = _Api(), threading.Event()
    with _leading(api, died) as stop:
        for _ in range(20):
            api.renewed.clear()
            assert api.renewed.wait(10)
        assert api.holder == "me"
        stop.set()
    assert api.holder == ""
    assert not died.is_set()


def test_one_request_that_hangs_can_be_tried_again_and_all_end_before_the_lease(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.undo()
    assert lease.RETRY + lease.ANSWER_SECONDS + lease.RETRY < lease.RENEW_BY
    assert lease.RENEW_BY + 2 * lease.RETRY < lease.LEASE_SECONDS
