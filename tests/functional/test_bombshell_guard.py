"""Slow, silent and greedy clients starve no other client."""

from __future__ import annotations

import os
import queue
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tambourinefs import errors
from tambourinefs.rpc import io_pb2
from tambourinefs.rpc.io_pb2_grpc import BombshellStub
from tests.functional.bombshells import Running, wait_until
from tests.functional.test_bombshell_rpcs import SILO, chunk, commit, header, reason

SERVICE = "tambourine.bombshell.v1.Bombshell"
Make = Callable[..., Running]


class Silence:
    """Requests that do not come: an iterator that gives what it is told to and then waits until it is closed."""

    def __init__(self, *first: Any) -> None:
        self._queue: queue.Queue[Any] = queue.Queue()
        for message in first:
            self._queue.put(message)

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        message = self._queue.get()
        if message is None:
            raise StopIteration
        return message

    def say(self, message: Any) -> None:
        self._queue.put(message)

    def close(self) -> None:
        self._queue.put(None)


def half_open(channel: grpc.Channel, method: str, silence: Silence) -> Any:
    """A call that has begun and sends no request."""
    return channel.stream_unary(method).future(silence)


def serving(running: Running, timeout: float = 3.0) -> bool:
    """Does Health answer within its time, on a connection of its own?"""
    with running.channel() as channel:
        answer = health_pb2_grpc.HealthStub(channel).Check(
            health_pb2.HealthCheckRequest(), timeout=timeout
        )
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


METHODS = [
    f"/{SERVICE}/{name}"
    for name in ("Write", "Read", "List", "Stat", "Remove", "MakeDirectory", "Watch")
] + [
    "/grpc.health.v1.Health/Check",
    "/grpc.health.v1.Health/Watch",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
]


@pytest.mark.parametrize("method", METHODS)
def test_half_open_calls_to_any_method_do_not_kill_health(
    make_bombshell: Make, method: str
) -> None:
    """Measured before the guard: as many as there are threads, and Health is dead, also for those of Health itself."""
    running = make_bombshell(max_watches=4, max_reads=4, max_writes=4, stream_timeout=2.0)
    with ExitStack() as stack:
        silences = [Silence() for _ in range(100)]
        channels = [stack.enter_context(running.channel()) for _ in range(2)]
        for silence in silences:
            stack.callback(silence.close)
        for number, silence in enumerate(silences):
            half_open(channels[number % 2], method, silence)
        if not method.startswith("/grpc.health"):
            assert serving(running)
        # Those of Health itself are ended by the timer.
        wait_until(lambda: _answers(running), "Health answers")


def _answers(running: Running) -> bool:
    try:
        return serving(running)
    except grpc.RpcError as error:
        if error.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED:
            raise
        return False


def test_idle_watches_have_a_bound_and_leave_the_rest_alone(make_bombshell: Make) -> None:
    running = make_bombshell(max_watches=4)
    with running.client() as client, ExitStack() as stack:
        for _ in range(4):
            watch = stack.enter_context(client.watch("silo"))
            assert next(watch)[0] == "resync"
        with pytest.raises(errors.Unreachable, match="more than 4 calls"):
            next(client.watch("silo"))
        client.write("silo", "f", b"x")
        assert client.read("silo", "f")[1] == b"x"
        assert serving(running)
    with running.client() as client:
        wait_until(lambda: _watches(client), "the slots are given back")


def _watches(client: Any) -> bool:
    try:
        with client.watch("silo") as watch:
            return bool(next(watch)[0] == "resync")
    except errors.Unreachable:
        return False


def test_a_watch_may_be_idle_much_longer_than_a_stall(make_bombshell: Make) -> None:
    running = make_bombshell(stream_timeout=1.0)
    with running.client() as client, client.watch("silo") as watch:
        assert next(watch)[0] == "resync"
        threading.Event().wait(2.5)
        client.write("silo", "f", b"")
        assert next(watch) == ("changed", b"f")


def test_an_upload_that_stalls_is_ended_and_leaves_nothing(make_bombshell: Make) -> None:
    running = make_bombshell(stream_timeout=1.0)
    silence = Silence(header(b"f"), chunk(b"x"))
    with running.channel() as channel:
        begun = time.monotonic()
        call = BombshellStub(channel).Write.future(silence)
        wait_until(running.temporaries, "the upload has begun")
        error = call.exception(60)
        assert isinstance(error, grpc.RpcError)
        assert error.code() is grpc.StatusCode.CANCELLED
        assert time.monotonic() - begun > 0.9
        silence.close()
    wait_until(lambda: not running.temporaries(), "its temporary file is gone")
    assert "without progress" in running.log


def test_a_reader_that_does_not_read_is_ended(make_bombshell: Make) -> None:
    running = make_bombshell(stream_timeout=1.0, max_reads=2)
    (running.silo / "large").write_bytes(bytes(64 << 20))
    with running.channel() as channel, running.client() as client:
        request = io_pb2.ReadRequest(volume=SILO, path=b"large")
        calls = [BombshellStub(channel).Read(request) for _ in range(2)]
        for call in calls:
            next(call)
        wait_until(lambda: running.log.count("without progress") == 2, "both are ended")
        wait_until(lambda: _reads(client), "the slots are given back")
        for call in calls:
            with pytest.raises(grpc.RpcError) as caught:
                list(call)
            assert caught.value.code() is grpc.StatusCode.CANCELLED


def _reads(client: Any) -> bool:
    try:
        return len(client.read("silo", "large")[1]) == 64 << 20
    except errors.Unreachable:
        return False


def test_a_slow_reader_that_does_read_is_served_to_the_end(make_bombshell: Make) -> None:
    running = make_bombshell(stream_timeout=1.0)
    (running.silo / "large").write_bytes(bytes(16 << 20))
    with running.client() as client:
        _, chunks = client.read_stream("silo", "large")
        total = 0
        for number, piece in enumerate(chunks):
            total += len(piece)
            if number % 8 == 0:
                threading.Event().wait(0.25)
    assert total == 16 << 20


def test_uncommitted_bytes_are_capped_and_given_back(make_bombshell: Make) -> None:
    running = make_bombshell(max_uncommitted_bytes=1 << 20)
    silence = Silence(header(b"a"), *[chunk(bytes(256 * 1024))] * 3)
    with running.channel() as channel, running.client() as client:
        stub = BombshellStub(channel)
        call = stub.Write.future(silence)
        wait_until(
            lambda: sum(path.stat().st_size for path in running.temporaries()) == 3 << 18,
            "three quarters are taken",
        )
        with pytest.raises(grpc.RpcError) as caught:
            stub.Write(iter([header(b"b"), *[chunk(bytes(256 * 1024))] * 2, commit()]))
        assert reason(caught.value) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "ENOBUFS")
        client.write("silo", "c", bytes(256 * 1024))
        silence.say(commit())
        silence.close()
        assert call.result(10).entry.size == 3 << 18
        client.write("silo", "d", bytes(1 << 20))
        with pytest.raises(errors.OutOfSpace, match="larger than"):
            client.write("silo", "e", bytes((1 << 20) + 1))
    assert sorted(path.name for path in running.silo.iterdir()) == ["a", "c", "d"]


def test_a_message_that_is_too_long_is_refused(bombshell: Running, stub: BombshellStub) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        stub.Write(iter([header(b"f"), chunk(bytes(4 << 20)), commit()]))
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    wait_until(lambda: not bombshell.content(), "nothing is left")


def test_a_call_ends_at_its_deadline(make_bombshell: Make) -> None:
    running = make_bombshell()
    silence = Silence(header(b"f"))
    with running.channel() as channel:
        call = BombshellStub(channel).Write.future(silence, timeout=0.3)
        error = call.exception(60)
        assert isinstance(error, grpc.RpcError)
        assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        silence.close()
    wait_until(lambda: not running.temporaries(), "its temporary file is gone")


def test_server_continues_after_sigstop_longer_than_a_tick(bombshell: Running) -> None:
    from tambourinefs.processes.bombshell import _TICK

    pid = bombshell.pid
    os.kill(pid, signal.SIGSTOP)
    until = time.monotonic() + _TICK + 1
    wait_until(lambda: time.monotonic() > until, "its time to wait for a signal has passed")
    os.kill(pid, signal.SIGCONT)
    wait_until(bombshell.answers, "it answers")
    assert bombshell.pid == pid
    assert "Traceback" not in bombshell.log
