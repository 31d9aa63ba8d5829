"""What a reader sees while the store changes: whole states, snapshots, notifications."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests import waiting
from tests.functional.procfs_mount import HERE, Mounted, hello, now_usec, plain, status_mount, told

POLLER = """
import select, sys, time
poll = select.poll()
poll.register(0, select.POLLPRI)
assert not poll.poll(0)
print("armed", flush=True)
assert poll.poll(10000)
print(time.monotonic(), open(sys.argv[1]).read(), flush=True)
"""


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Mounted]:
    with status_mount(tmp_path / "proc") as made:
        yield made


def test_no_read_is_ever_torn(mount: Mounted) -> None:
    view = hello()
    mount.order(storm=plain(view))
    names = ("systemdName", "docs", "manifest", "conditions", "status", "status.json")
    while not (mount.of(view) / "status").exists():
        pass
    files = [str(mount.of(view) / name) for name in names]
    readers = [
        subprocess.Popen(
            [sys.executable, HERE / "procfs_reader.py", "2000", *files], stdout=subprocess.PIPE
        )
        for _ in range(4)
    ]
    answers = [json.loads(reader.communicate(timeout=240)[0]) for reader in readers]
    published = mount.order(calm=None)
    assert (
        sum(a["reads"] for a in answers) >= 8_000
    )  # of a content that changes in place 8 in 100 are torn
    assert sum(a["torn"] for a in answers) == 0
    # The fault was there: readers saw many of many states.
    assert published > 300
    assert sum(a["publishes_seen"] for a in answers) > 300


def test_a_held_descriptor_is_a_snapshot(mount: Mounted) -> None:
    view = hello()
    mount.publish(view)
    for name in ("loaded", "status", "manifest"):
        path = mount.of(view) / name
        with path.open("rb") as held:
            before = path.read_bytes()
            mount.publish(hello(description=f"changed for {name}", load_state=f"{name}-changed"))
            assert told(held.fileno(), 5) or name == "manifest"
            assert held.read() == before
            assert os.fstat(held.fileno()).st_size == len(before)
        mount.publish(view)


def test_notified_reader_finds_the_new_value(mount: Mounted) -> None:
    """POLLPRI must not come before the kernel has dropped the old name: a thousand times told, a thousand times new."""
    view = hello()
    mount.publish(view)
    for number in range(1000):
        for name in ("systemdName", "active") if number % 10 == 0 else ("systemdName",):
            path = mount.of(view) / name
            with path.open() as held:
                old = held.read()
                mount.publish(
                    hello(description=f"number {number} {name}", sub_state=f"s{number}-{name}")
                )
                assert told(held.fileno(), 5)
                assert path.read_text() != old


@pytest.mark.timing
@pytest.mark.parametrize("name", ["active", "status", "status.json", "loaded"])
def test_a_sleeping_poll_wakes_at_once(mount: Mounted, name: str) -> None:
    view = hello()
    mount.publish(view)
    path = mount.of(view) / name
    late = []
    for number in range(20):
        with path.open() as held:
            held.read()
            poller = subprocess.Popen(  # a process of its own, asleep in poll(2) before the change
                [
                    sys.executable,
                    "-c",
                    POLLER,
                    path,
                ],
                stdin=held,
                stdout=subprocess.PIPE,
                text=True,
            )
            assert poller.stdout
            assert poller.stdout.readline() == "armed\n"
            _wait_asleep(poller.pid)
            began = time.monotonic()
            mount.publish(hello(load_state=f"state-{number}", sub_state=f"state-{number}"))
            woke, _, text = poller.communicate(timeout=20)[0].partition(" ")
            late.append(float(woke) - began)
            assert f"state-{number}" in text
    assert sorted(late)[len(late) // 2] < 0.02
    assert sorted(late)[-2] < 0.05  # one of twenty may meet a busy machine


def _wait_asleep(pid: int) -> None:
    """Until the process waits in poll(2)."""
    deadline = time.monotonic() + 10
    while Path(f"/proc/{pid}/wchan").read_text() not in {
        "poll_schedule_timeout.constprop.0",
        "do_sys_poll",
    }:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        if state == "S" and Path(f"/proc/{pid}/syscall").read_text().split()[0] == "7":
            return
        assert time.monotonic() < deadline


def test_passing_time_does_not_notify(mount: Mounted) -> None:
    view = hello()
    mount.publish(view)
    with (mount.of(view) / "active").open() as held:
        text = held.read()
        _wait_for(lambda: (mount.of(view) / "active").read_text() != text)  # the age went on
        assert not told(held.fileno(), 0)
        mount.publish(view)  # the same again: no change
        assert not told(held.fileno(), 0.2)


def _wait_for(condition: object, seconds: float = 10) -> None:
    assert callable(condition)
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline


@pytest.mark.timing
def test_an_age_is_never_more_than_a_second_old(mount: Mounted) -> None:
    view = hello(active_enter_usec=now_usec())
    mount.publish(view)
    assert view.unit
    deadline = time.monotonic() + 4
    while (looked := time.monotonic()) < deadline:
        age = (now_usec() - view.unit.active_enter_usec) / 1e6
        text = (mount.of(view) / "active").read_text().split("; ")[1]
        shown = text.removesuffix(" ago\n")
        seconds = (
            float(shown[:-2]) / 1000 if shown.endswith("ms") else float(shown.removesuffix("s"))
        )
        assert age - 2.05 < seconds <= age + 0.05
        waiting.rest(looked, least=0.002)  # what is too old is so for longer than that


@pytest.mark.timing
def test_a_live_file_is_rendered_once_a_second_and_not_when_nothing_changed(mount: Mounted) -> None:
    old = hello("old", active_enter_usec=now_usec() - 30 * 86400 * 10**6)
    mount.publish(old)
    path = mount.of(old) / "active"
    with path.open() as held:  # so that the kernel does not forget it meanwhile
        first = os.fstat(held.fileno())
        _wait_for(lambda: time.time_ns() - first.st_mtime_ns > 1_200_000_000)
        assert path.stat() == first  # "4 weeks 2 days ago", still


def test_withdrawn_service_is_removed_and_readers_are_notified(mount: Mounted) -> None:
    view, other = hello(), hello("other")
    mount.publish(view, other)
    with (mount.of(view) / "loaded").open() as held, (mount.of(view) / "status").open() as live:
        content = (mount.of(view) / "loaded").read_text()
        (mount.of(view) / "status").read_text()
        mount.withdraw(view)
        assert told(held.fileno(), 5)
        assert told(live.fileno(), 5)
        _wait_for(lambda: not mount.of(view).exists())
        with pytest.raises(FileNotFoundError):
            (mount.of(view) / "loaded").open()
        assert held.read() == content
    assert [p.name for p in (mount.root / "local").iterdir()] == ["other"]
    mount.withdraw(other)
    _wait_for(lambda: not (mount.root / "local").exists())
    mount.publish(view)
    assert (mount.of(view) / "loaded").read_text() == content


def test_a_process_inside_a_withdrawn_directory_gets_enoent(mount: Mounted) -> None:
    view = hello()
    mount.publish(view)
    fd = os.open(mount.of(view), os.O_RDONLY | os.O_DIRECTORY)
    try:
        assert "status" in os.listdir(fd)
        mount.withdraw(view)
        _wait_for(lambda: not mount.of(view).exists())
        assert os.listdir(fd) == []
        with pytest.raises(FileNotFoundError):
            os.open("status", os.O_RDONLY, dir_fd=fd)
        os.fstat(fd)
    finally:
        os.close(fd)


def test_new_name_is_found_after_a_failed_lookup(mount: Mounted) -> None:
    for number in range(200):
        view = hello(f"s{number}")
        assert not mount.of(view).exists()
        mount.publish(view)
        assert (mount.of(view) / "loaded").exists()
    assert len(list((mount.root / "local").iterdir())) == 200


def test_events_are_numbered_and_polled(mount: Mounted) -> None:
    fd = os.open(mount.root / "events.log", os.O_RDONLY)
    try:
        assert os.read(fd, 65536) == b""  # nothing yet: the end, at once
        assert not select.select([fd], [], [], 0)[0]
        mount.publish(hello())
        assert select.select([fd], [], [], 5)[0]
        first = os.read(fd, 65536).decode().splitlines()
        assert first[0].split()[2:] == ["local/hello", "added"]
        assert os.read(fd, 65536) == b""
        mount.publish(hello(active_state="failed", sub_state="failed", result="exit-code"))
        assert select.select([fd], [], [], 5)[0]
        after = os.read(fd, 65536).decode().splitlines()
        assert after[0].endswith("active active (running) -> failed (Result: exit-code)")
        numbers = [int(line.split()[0]) for line in first + after]
        assert numbers == list(range(1, len(numbers) + 1))
        with pytest.raises(OSError, match="Illegal seek"):
            os.pread(fd, 10, 0)
    finally:
        os.close(fd)
    assert (mount.root / "events.log").read_text().splitlines() == first + after


def test_open_log_polls_ready_for_new_events(mount: Mounted) -> None:
    mount.publish(hello())
    fd = os.open(mount.root / "events.log", os.O_RDONLY)
    poll = select.poll()
    poll.register(fd, select.POLLPRI)
    try:
        for state in ("failed", "active"):
            assert poll.poll(0) == []  # what was there when it was opened is no news
            mount.publish(hello(active_state=state))
            assert poll.poll(5000) == [(fd, select.POLLPRI)]
            assert f"-> {state}" in os.read(fd, 65536).decode()
    finally:
        os.close(fd)


def test_event_reader_finds_the_new_value(mount: Mounted) -> None:
    view = hello()
    mount.publish(view)
    path = mount.of(view) / "loaded"
    fd = os.open(mount.root / "events.log", os.O_RDONLY)
    try:
        while os.read(fd, 65536):
            pass
        for number in range(1000):
            assert f"state-{number}" not in path.read_text()
            mount.publish(hello(load_state=f"state-{number}"))
            assert select.select([fd], [], [], 5)[0]
            assert f"state-{number}" in os.read(fd, 65536).decode()
            assert f"state-{number}" in path.read_text()
    finally:
        os.close(fd)


def test_every_event_is_read_or_reported_as_missed(mount: Mounted) -> None:
    """One reader polls and reads, one sleeps through the storm; the sequence has no hole that is not said."""
    fast = os.open(mount.root / "events.log", os.O_RDONLY)
    slow = os.open(mount.root / "events.log", os.O_RDONLY)
    view = hello()
    try:
        mount.order(storm=plain(view))
        text = {fast: b"", slow: b""}
        deadline = time.monotonic() + 60
        while text[fast].count(b"\n") < 10_000:
            assert time.monotonic() < deadline
            assert select.select([fast], [], [], 5)[0]
            text[fast] += os.read(fast, 4096)
        mount.order(calm=None)
        for fd in (fast, slow):
            while chunk := os.read(fd, 65536):
                text[fd] += chunk
        for fd in (fast, slow):
            expected = 1
            for line in text[fd].decode().splitlines():
                if line.startswith("missed "):
                    begin, end = map(int, line.removeprefix("missed ").split("-"))
                    assert begin == expected
                    expected = end + 1
                else:
                    assert int(line.split()[0]) == expected
                    expected += 1
        assert b"missed " in text[slow]  # the fault was there
    finally:
        os.close(fast)
        os.close(slow)


def test_overviews_notify_for_any_service(mount: Mounted) -> None:
    view = hello()
    mount.publish(view)
    for name in ("services.txt", "services.json", "metrics.prom"):
        with (mount.root / name).open() as held:
            held.read()
            mount.publish(hello("other", description=name), replace(view, generation=len(name)))
            assert told(held.fileno(), 5)
    parsed = json.loads((mount.root / "services.json").read_text())
    assert [(s["namespace"], s["name"]) for s in parsed] == [("local", "hello"), ("local", "other")]
