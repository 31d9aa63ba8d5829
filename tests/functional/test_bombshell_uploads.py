"""Uploads that break, servers that die, writers that race."""

from __future__ import annotations

import itertools
import os
import signal
import threading
from collections.abc import Callable

import pytest

from tambourinefs import errors
from tambourinefs.rpc.client import Client
from tambourinefs.rpc.io_pb2_grpc import BombshellStub
from tests.functional.bombshells import Running, wait_until
from tests.functional.test_bombshell_guard import Silence
from tests.functional.test_bombshell_rpcs import chunk, header

Make = Callable[..., Running]


def begin(
    running: Running, stub: BombshellStub, path: bytes, **fields: object
) -> tuple[Silence, object]:
    """An upload that goes on: its header and a chunk are there, nothing else comes."""
    before = len(running.temporaries())
    silence = Silence(header(path, **fields), chunk(b"x" * 1000))
    call = stub.Write.future(silence)
    wait_until(
        lambda: (
            len(running.temporaries()) == before + 1
            and all(path.stat().st_size for path in running.temporaries())
        ),
        "the upload has begun",
    )
    return silence, call


def test_a_cancelled_upload_leaves_nothing(bombshell: Running, stub: BombshellStub) -> None:
    silence, call = begin(bombshell, stub, b"a/b/f", parents=True)
    assert not (bombshell.silo / "a").exists()
    call.cancel()  # type: ignore[attr-defined]
    wait_until(lambda: not bombshell.content(), "nothing is left")
    silence.close()


def test_a_connection_that_breaks_leaves_nothing(bombshell: Running) -> None:
    channel = bombshell.channel()
    silence, call = begin(bombshell, BombshellStub(channel), b"f")
    channel.close()
    assert call.cancelled() or call.exception(10)  # type: ignore[attr-defined]
    wait_until(lambda: not bombshell.content(), "nothing is left")
    silence.close()


def test_uploads_that_go_on_are_ended_when_the_server_stops(
    bombshell: Running, stub: BombshellStub
) -> None:
    silence, call = begin(bombshell, stub, b"f")
    with bombshell.client() as client, client.watch("silo") as watch:
        assert next(watch)[0] == "resync"
        assert bombshell.kill(signal.SIGTERM) == 0
        with pytest.raises(errors.Unreachable):
            next(watch)
    assert bombshell.content() == []
    assert call.exception(10) is not None  # type: ignore[attr-defined]
    silence.close()


def test_leftovers_of_a_killed_server_are_removed(bombshell: Running, stub: BombshellStub) -> None:
    (bombshell.silo / "ns" / "deep").mkdir(parents=True)
    (bombshell.silo / "ns" / "stays").write_text("x")
    # gRPC cancels a call without references.
    begun = [begin(bombshell, stub, path) for path in (b"f", b"ns/g", b"ns/deep/h")]
    bombshell.kill()
    assert len(bombshell.temporaries()) == 3
    for silence, _ in begun:
        silence.close()
    bombshell.start()
    wait_until(lambda: not bombshell.temporaries(), "the leftovers are gone")
    assert (bombshell.silo / "ns" / "stays").read_text() == "x"


def test_living_uploads_of_another_server_on_the_same_silo_stay(make_bombshell: Make) -> None:
    first = make_bombshell()
    with first.channel() as channel:
        silence, call = begin(first, BombshellStub(channel), b"f")
        (first.silo / ".bombshell-00dead0000000000").touch()
        make_bombshell(silo=first.silo)
        wait_until(lambda: len(first.temporaries()) == 1, "the dead one is removed")
        assert (first.silo / ".bombshell-00dead0000000000") not in first.temporaries()
        silence.close()
        assert call.exception(10) is not None  # type: ignore[attr-defined]


def test_an_upload_to_a_directory_that_is_removed_fails(
    bombshell: Running, client: Client, stub: BombshellStub
) -> None:
    client.make_directory("silo", "d")
    silence, call = begin(bombshell, stub, b"d/f")
    client.remove("silo", "d", recursive=True)
    from tests.functional.test_bombshell_rpcs import commit

    silence.say(commit())
    silence.close()
    assert call.exception(10).code().name == "NOT_FOUND"  # type: ignore[attr-defined]
    assert bombshell.content() == []


def test_no_reader_ever_sees_a_mixture(bombshell: Running, client: Client) -> None:
    def content(number: int) -> bytes:
        return f"{number:08}".encode() * (1000 + number * 7919 % 60000)

    client.write("silo", "f", content(0))
    stop = threading.Event()
    seen: set[int] = set()
    wrong: list[str] = []

    def check(data: bytes) -> None:
        number = int(data[:8] or b"-1")
        seen.add(number)
        if data != content(number):
            wrong.append(f"{len(data)} bytes that begin with {number}")

    def read_by_file() -> None:
        while not stop.is_set():
            check((bombshell.silo / "f").read_bytes())

    def read_by_rpc() -> None:
        with bombshell.client() as other:
            while not stop.is_set():
                check(other.read("silo", "f")[1])

    threads = [threading.Thread(target=run) for run in (read_by_file, read_by_rpc, read_by_rpc)]
    for thread in threads:
        thread.start()
    try:
        for number in range(1, 150):
            client.write("silo", "f", content(number))
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not wrong, wrong[:3]
    assert len(seen) > 20


def test_counting_by_if_match_loses_no_count(bombshell: Running, client: Client) -> None:
    """Eight writers, each reads, adds one and writes unless another was faster: the sum is right."""
    client.write("silo", "n", b"0")
    conflicts = itertools.count()

    def count() -> None:
        with bombshell.client() as mine:
            for _ in range(10):
                while True:
                    entry, data = mine.read("silo", "n")
                    try:
                        mine.write("silo", "n", b"%d" % (int(data) + 1), if_match=entry.etag)
                    except errors.Conflict:
                        next(conflicts)
                    else:
                        break

    threads = [threading.Thread(target=count) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert client.read("silo", "n")[1] == b"80"
    assert next(conflicts) > 0, "no race happened: this proved nothing"


@pytest.mark.parametrize("parents", [False, True])
def test_one_of_many_concurrent_if_absent_writes_wins(
    bombshell: Running, client: Client, parents: bool
) -> None:
    for turn in range(20):
        path = f"d{turn}/f" if parents else f"f{turn}"
        start = threading.Barrier(6)
        results: list[str] = []

        def create(number: int, path: str = path, start: threading.Barrier = start,
                   results: list[str] = results) -> None:  # fmt: skip
            start.wait()
            try:
                client.write("silo", path, b"%d" % number, if_absent=True, parents=parents)
                results.append(f"{number}")
            except errors.AlreadyExists:
                pass

        threads = [threading.Thread(target=create, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(results) == 1
        assert client.read("silo", path)[1].decode() == results[0]


def test_if_absent_holds_against_programs_without_locks(bombshell: Running, client: Client) -> None:
    stop = threading.Event()
    lost: list[str] = []

    def make_by_hand() -> None:
        for number in itertools.count():
            if stop.is_set():
                return
            path = bombshell.silo / f"f{number % 10}"
            try:
                fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
            except FileExistsError:
                path.unlink(missing_ok=True)
                continue
            inode = os.fstat(fd).st_ino
            os.close(fd)
            if path.exists() and path.stat().st_ino != inode:
                lost.append(path.name)

    thread = threading.Thread(target=make_by_hand)
    thread.start()
    taken = 0
    try:
        for number in range(300):
            try:
                client.write("silo", f"f{number % 10}", b"ours", if_absent=True)
            except errors.AlreadyExists:
                taken += 1
    finally:
        stop.set()
        thread.join()
    assert taken, "never taken: this proved nothing"
    assert not lost


def test_many_writers_of_many_files(bombshell: Running, client: Client) -> None:
    def write(number: int) -> None:
        for turn in range(10):
            client.write("silo", f"ns{number % 3}/f{number}", b"%d" % turn, parents=True)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    files = [path for path in bombshell.silo.glob("ns*/*") if path.is_file()]
    assert len(files) == 12
    assert {path.read_bytes() for path in files} == {b"9"}
