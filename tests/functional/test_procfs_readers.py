"""Many readers at once, and what one of them costs the others."""

from __future__ import annotations

import os
import resource
import select
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.functional.procfs_mount import Mounted, hello, status_mount

READERS = 4096


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Mounted]:
    with status_mount(tmp_path / "proc") as made:
        yield made


@pytest.fixture
def many_files() -> Iterator[None]:
    """A limit for the descriptors of 4,096 readers."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (READERS + 1024, max(before[1], READERS + 1024)))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def _milliseconds(path: Path, times: int = 200) -> list[float]:
    """How long open, read and close took, sorted."""
    took = []
    for _ in range(times):
        began = time.perf_counter()
        path.read_bytes()
        took.append((time.perf_counter() - began) * 1000)
    return sorted(took)


@pytest.mark.timing
@pytest.mark.usefixtures("many_files")
def test_4096_open_readers_one_never_reading(mount: Mounted) -> None:
    view = hello()
    mount.publish(view)
    names = ("status", "loaded", "events.log", "status.json")
    paths = [mount.root / n if n == "events.log" else mount.of(view) / n for n in names]
    fds: list[int] = []
    try:
        alone = _milliseconds(mount.of(view) / "loaded")
        fds += [os.open(paths[number % len(paths)], os.O_RDONLY) for number in range(READERS)]
        idle, *others = fds  # `idle` is a descriptor on `status` that is never read
        poll = select.epoll()
        for fd in others:
            poll.register(fd, select.EPOLLPRI | (select.EPOLLIN if _is_log(fd) else 0))
        for fd in others:
            assert os.read(fd, 1 << 16)
        crowded = _milliseconds(mount.of(view) / "loaded")
        assert crowded[len(crowded) // 2] < 2 * alone[len(alone) // 2] + 0.2
        began = time.monotonic()
        mount.publish(hello(load_state="changed", sub_state="changed"))
        told: set[int] = set()
        while len(told) < len(others):
            ready = poll.poll(5)
            assert ready, f"{len(others) - len(told)} were not told"
            for fd, _ in ready:
                poll.unregister(fd)
            told |= {fd for fd, _ in ready}
        assert time.monotonic() - began < 5
        assert "changed" in (mount.of(view) / "loaded").read_text()
        # One that slept through all of it still holds what it opened.
        assert b"changed" not in os.read(idle, 1 << 16)
        poll.close()
    finally:
        for fd in fds:
            os.close(fd)
    assert mount.order(count=None)["inodes"] < 100


def _is_log(fd: int) -> bool:
    return os.readlink(f"/proc/self/fd/{fd}").endswith("events.log")


@pytest.mark.timing
def test_a_reader_of_thousands_of_services_does_not_hold_up_others(mount: Mounted) -> None:
    mount.publish(*(hello(f"s{n}") for n in range(3000)))
    value = mount.root / "local/s7/loaded"
    child = os.fork()
    if child == 0:  # reads the big files for as long as the parent measures
        try:
            while True:
                for name in ("services.json", "metrics.prom", "services.txt"):
                    (mount.root / name).read_bytes()
        finally:
            os._exit(1)
    try:
        took = _milliseconds(value, 500)
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)
    assert took[len(took) // 2] < 20
    assert took[len(took) * 99 // 100] < 100


@pytest.mark.timing
def test_publishing_is_cheap_with_thousands_of_services_and_readers(mount: Mounted) -> None:
    views = [hello(f"s{n}") for n in range(2000)]
    mount.publish(*views)
    for view in views:
        (mount.of(view) / "loaded").read_bytes()
    began = time.monotonic()
    mount.publish(*(hello(view.name, load_state="changed") for view in views))
    each = (time.monotonic() - began) / len(views)
    assert each < 0.005  # with the test's own JSON in it
    deadline = time.monotonic() + 2
    for view in views:
        while b"changed" not in (mount.of(view) / "loaded").read_bytes():
            assert time.monotonic() < deadline
