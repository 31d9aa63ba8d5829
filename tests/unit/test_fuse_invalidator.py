"""The invalidator: bounded, in order, equal bells once, and after an overflow everything anew."""

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
        self.rung: queue.Queue[tuple[object, ...]] = queue.Queue()
        self.go = threading.Event()
        self.entered = threading.Event()
        monkeypatch.setattr(pyfuse3, "invalidate_inode", self._ring)
        monkeypatch.setattr(pyfuse3, "invalidate_entry", self._ring)

    def _ring(self, *what: object) -> None:
        self.entered.set()
        assert self.go.wait(10)
        self.rung.put(what)

    def rung_until(self, last: tuple[object, ...]) -> list[tuple[object, ...]]:
        """What was rung, up to this bell."""
        return list(iter(lambda: self.rung.get(timeout=10), last))


def test_in_order_and_equal_ones_once(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = Kernel(monkeypatch)
    with Invalidator(lambda: None) as bells:
        bells.inode(1)
        assert kernel.entered.wait(10)
        for _ in range(100):
            bells.entry(1, b"a")
            bells.inode(2, attributes_only=True)
        bells.inode(999)
        kernel.go.set()
        assert kernel.rung_until((999, False)) == [(1, False), (1, b"a"), (2, True)]


def test_overflow_invalidates_everything(
    monkeypatch: pytest.MonkeyPatch, announce: Callable[[str], None]
) -> None:
    announce("more than 10 invalidations wait")
    kernel = Kernel(monkeypatch)
    resynced = threading.Event()
    with Invalidator(resynced.set, capacity=10) as bells:
        bells.inode(1)
        assert kernel.entered.wait(10)
        for i in range(1000):
            bells.inode(i)
        kernel.go.set()
        assert resynced.wait(10)


def test_calls_do_not_block_while_the_kernel_does(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = Kernel(monkeypatch)
    with Invalidator(lambda: None) as bells:
        for i in range(1000):
            bells.inode(i)
        assert kernel.rung.empty()
        kernel.go.set()
