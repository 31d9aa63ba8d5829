"""A leader that cannot renew its Lease ends before another may lead: forbidden, cut off, or with a request that hangs."""

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


class _Leader:
    """A process that leads: `lost` is what `wait` returned, None while it waits."""

    def __init__(self, api: _Api) -> None:
        self.stop = threading.Event()
        self.lost: str | None = None
        self.ended = threading.Event()
        self.elector = Elector(api, "n", "l", "me")  # type: ignore[arg-type]
        assert self.elector.acquire(self.stop)
        api.renewed.clear()
        self.threads = [
            threading.Thread(target=self.elector.renew, args=(self.stop,)),
            threading.Thread(target=self._wait),
        ]
        for thread in self.threads:
            thread.start()

    def _wait(self) -> None:
        self.lost = self.elector.wait(self.stop)
        self.ended.set()


@contextmanager
def _leading(api: _Api) -> Iterator[_Leader]:
    """A process that leads and has renewed its Lease."""
    leader = _Leader(api)
    try:
        assert api.renewed.wait(10)
        assert leader.lost is None
        yield leader
    finally:
        leader.stop.set()
        for thread in leader.threads:
            thread.join(10)
            assert not thread.is_alive()


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "RETRY", 0.01)
    monkeypatch.setattr(lease, "RENEW_BY", 1.0)


def test_wait_returns_while_a_renewal_hangs() -> None:
    api, answer = _Api(), threading.Event()
    with _leading(api) as leader:
        api.renewal = lambda: _hang(answer)
        assert leader.ended.wait(10)
        assert leader.lost == "the Lease was not renewed for 1 s"
        assert not answer.is_set()
        api.renewal = lambda: None
        answer.set()


def _hang(answer: threading.Event) -> None:
    assert answer.wait(20)


@pytest.mark.parametrize("error", [Unreachable("it does not answer"), Forbidden("no rights")])
def test_wait_returns_after_renewals_that_failed(
    error: TambourineError, announce: Announced
) -> None:
    announce(str(error))
    api = _Api()

    def fails() -> None:
        raise error

    with _leading(api) as leader:
        api.renewal = fails
        assert leader.ended.wait(10)
        assert leader.lost == "the Lease was not renewed for 1 s"


def test_wait_returns_at_once_where_another_process_holds_the_lease() -> None:
    api = _Api()

    def conflict() -> None:
        raise Conflict("written since")

    with _leading(api) as leader:
        api.holder = "another"
        api.renewal = conflict
        assert leader.ended.wait(10)
        assert leader.lost == "another process holds the Lease"


def test_a_failure_while_reading_the_lease_again_is_retried(announce: Announced) -> None:
    """After a conflict, as after etcd was restored, the Lease is read; that may fail like any request."""
    announce("cannot renew")
    api = _Api()
    with _leading(api) as leader:
        failed = threading.Event()

        def get(*_: object) -> dict[str, Any]:
            failed.set()
            raise Unreachable("it does not answer")

        def conflict() -> None:
            raise Conflict("written since")

        api.get, api.renewal = get, conflict  # type: ignore[method-assign]
        assert failed.wait(10)
        api.renewal = lambda: None
        api.renewed.clear()
        assert api.renewed.wait(10)
        assert leader.lost is None


def test_a_leader_renews_until_stop_and_then_releases_the_lease() -> None:
    api = _Api()
    with _leading(api) as leader:
        for _ in range(20):
            api.renewed.clear()
            assert api.renewed.wait(10)
        assert api.holder == "me"
    assert leader.lost == ""
    leader.elector.release()
    assert api.holder == ""


def test_the_timeouts_leave_time_for_a_second_renewal_and_end_before_the_lease(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.undo()
    assert lease.RETRY + lease.ANSWER_SECONDS + lease.RETRY < lease.RENEW_BY
    assert lease.RENEW_BY + 2 * lease.RETRY < lease.LEASE_SECONDS
