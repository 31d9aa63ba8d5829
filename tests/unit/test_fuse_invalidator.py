"""The invalidator: bounded, in order, equal notifications once, and after an overflow everything again."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

import pyfuse3
import pytest

from tambourinefs.fuse import Invalidator


class Kernel:
    """Stands where pyfuse3 calls into the kernel; the first call waits until `go`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.notified: queue.Queue[tuple[object, ...]] = queue.Queue()
        self.go = threading.Event()
        self.entered = threading.Event()
        monkeypatch.setattr(pyfuse3, "invalidate_inode", self._ring)
        monkeypatch.setattr(pyfuse3, "invalidate_entry", self._ring)

    def _ring(self, *what: object) -> None:
        self.entered.set()
        assert self.go.wait(10)
        self.notified.put(what)

    def notified_until(self, last: tuple[object, ...]) -> list[tuple[object, ...]]:
        """The notifications, up to this one."""
        return list(iter(lambda: self.notified.get(timeout=10), last))


def test_in_order_and_equal_ones_once(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = Kernel(monkeypatch)
    with Invalidator(lambda: None) as invalidator:
        invalidator.inode(1)
        assert kernel.entered.wait(10)
        for _ in range(100):
            invalidator.entry(1, b"a")
            invalidator.inode(2, attributes_only=True)
        invalidator.inode(999)
        kernel.go.set()
        assert kernel.notified_until((999, False)) == [(1, False), (1, b"a"), (2, True)]


def test_overflow_invalidates_everything(
    monkeypatch: pytest.MonkeyPatch, announce: Callable[[str], None]
) -> None:
    announce("more than 10 invalidations wait")
    kernel = Kernel(monkeypatch)
    resynced = threading.Event()
    with Invalidator(resynced.set, capacity=10) as invalidator:
        invalidator.inode(1)
        assert kernel.entered.wait(10)
        for i in range(1000):
            invalidator.inode(i)
        kernel.go.set()
        assert resynced.wait(10)


def test_calls_do_not_block_while_the_kernel_does(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = Kernel(monkeypatch)
    with Invalidator(lambda: None) as invalidator:
        for i in range(1000):
            invalidator.inode(i)
        assert kernel.notified.empty()
        kernel.go.set()
