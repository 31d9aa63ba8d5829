"""10,000 hostile requests: no crash, no escape, nothing leaks, within a minute."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest

from tambourinefs.rpc import io_pb2
from tests.functional.bombshells import IN_MEMORY, Running, wait_until

SERVICE = "tambourine.bombshell.v1.Bombshell"
SECRET = b"TAMBOURINE-CANARY"
CODES = {
    grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND, grpc.StatusCode.ALREADY_EXISTS,
    grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.DATA_LOSS, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED,
    grpc.StatusCode.UNIMPLEMENTED,
}  # fmt: skip


class Attacker:
    """Draws requests from a seed."""

    def __init__(self, seed: int, outside: Path) -> None:
        self.random = random.Random(seed)
        self.outside = os.fsencode(outside)

    def path(self) -> bytes:
        draw = self.random
        kinds: list[Callable[[], bytes]] = [
            lambda: b"/".join(
                draw.choices([b"a", b"b", b"link", b"..", b".", b"", b"f"], k=draw.randrange(1, 6))
            ),
            lambda: self.outside + b"/secret",
            lambda: b"../" * draw.randrange(1, 40) + self.outside.lstrip(b"/") + b"/secret",
            lambda: b"link/secret",
            lambda: b"a/up/outside/secret",
            lambda: draw.randbytes(draw.randrange(0, 300)),
            lambda: draw.randbytes(draw.randrange(0, 5000)),
            lambda: b"x" * draw.choice([254, 255, 256, 4096, 70000]),
            lambda: b"/".join([b"d"] * draw.choice([10, 10, 10, 10, 2000, 2048, 2049])),
            lambda: b".bombshell-" + draw.randbytes(4).hex().encode(),
            lambda: b"a/b\0c",
            lambda: b"a/" + draw.randbytes(3).replace(b"/", b"").replace(b"\0", b""),
            lambda: b"fifo",
            lambda: b"",
        ]
        return draw.choice(kinds)()

    def number(self) -> int:
        return self.random.choice([0, 1, 2, 255, 1 << 31, (1 << 32) - 1])

    def large(self) -> int:
        return self.random.choice([0, 1, 1 << 20, 1 << 62, (1 << 63) - 1, (1 << 64) - 1])

    def volume(self) -> Any:
        return self.random.choice([1, 1, 1, 1, 2, 0, 3, 77])

    def header(self) -> io_pb2.WriteRequest:
        draw = self.random
        return io_pb2.WriteRequest(
            header=io_pb2.WriteHeader(
                volume=self.volume(),
                path=self.path(),
                mode=self.number(),
                if_match=draw.choice([None, None, "*", "x" * 10000]),
                if_absent=draw.random() < 0.2,
                parents=draw.random() < 0.7,
                size=draw.choice([None, None, 10, self.large()]),
            )
        )

    def chunk(self) -> io_pb2.WriteRequest:
        return io_pb2.WriteRequest(chunk=bytes(self.random.choice([0, 1, 10, 300_000, 262_144])))

    def commit(self) -> io_pb2.WriteRequest:
        digest = self.random.choice([b"", b"", bytes(32), bytes(5000)])
        return io_pb2.WriteRequest(commit=io_pb2.WriteCommit(sha256=digest))

    def writes(self) -> list[bytes]:
        draw = self.random
        parts = [self.header, self.chunk, self.commit, io_pb2.WriteRequest]
        if draw.random() < 0.5:  # in order
            made = [self.header(), *[self.chunk() for _ in range(draw.randrange(3))], self.commit()]
        else:
            made = [draw.choice(parts)() for _ in range(draw.randrange(6))]
        return [self.broken(message.SerializeToString()) for message in made]

    def broken(self, data: bytes) -> bytes:
        draw = self.random
        kind = draw.random()
        if kind < 0.85 or not data:
            return data
        if kind < 0.9:
            return data[: draw.randrange(len(data))]
        if kind < 0.95:
            at = draw.randrange(len(data))
            return data[:at] + draw.randbytes(4) + data[at:]
        return draw.randbytes(draw.randrange(200))

    def request(self, method: str) -> list[bytes]:
        fields: dict[str, Any] = {"volume": self.volume(), "path": self.path()}
        draw = self.random
        if method == "Write":
            return self.writes()
        message: Any
        if method == "Read":
            message = io_pb2.ReadRequest(**fields, offset=self.large(), length=self.large())
        elif method == "List":
            message = io_pb2.ListRequest(**fields)
        elif method == "Stat":
            message = io_pb2.StatRequest(**fields)
        elif method == "Remove":
            match = draw.choice([None, "", "*", "x"])
            message = io_pb2.RemoveRequest(**fields, recursive=draw.random() < 0.5, if_match=match)
        elif method == "MakeDirectory":
            message = io_pb2.MakeDirectoryRequest(
                **fields, mode=self.number(), parents=draw.random() < 0.5
            )
        else:
            message = io_pb2.WatchRequest(**fields, depth=self.number())
        return [self.broken(message.SerializeToString())] * draw.choice([1, 1, 1, 1, 0, 2])


METHODS = [
    "Write",
    "Write",
    "Write",
    "Read",
    "List",
    "Stat",
    "Remove",
    "MakeDirectory",
    "Watch",
    "NoSuch",
]


def attack(channel: grpc.Channel, attacker: Attacker, answers: list[bytes]) -> grpc.StatusCode:
    """One hostile call; how it ended."""
    draw = attacker.random
    method = draw.choice(METHODS)
    messages = attacker.request(method)
    half = draw.random() < 0.05

    def send() -> Iterator[bytes]:
        yield from messages
        if half:  # a stream that does not end
            time.sleep(0.1)

    timeout = 0.05 if half or method == "Watch" else 20
    one: grpc.UnaryStreamMultiCallable[bytes, bytes]
    many: grpc.StreamStreamMultiCallable[bytes, bytes]
    if len(messages) == 1 and not half:  # the same on the wire, for half of the client's work
        one = channel.unary_stream(f"/{SERVICE}/{method}")
        call = one(messages[0], timeout=timeout)
    else:
        many = channel.stream_stream(f"/{SERVICE}/{method}")
        call = many(send(), timeout=timeout)
    try:
        for number, answer in enumerate(call):
            answers.append(answer[:10_000])
            if draw.random() < 0.05 or number > 100:
                call.cancel()
    except grpc.RpcError as error:
        return error.code()
    return grpc.StatusCode.OK


def _state(outside: Path, control: Path) -> list[tuple[object, ...]]:
    """What would tell of a change, and whether the directory was read by a process other than the reader of the control."""
    found = [(path, path.stat()) for path in (outside, outside / "secret")]
    read = outside.stat().st_atime_ns - control.stat().st_atime_ns > 1_000_000_000
    return [
        (path, s.st_ino, s.st_mode, s.st_size, s.st_mtime_ns, s.st_ctime_ns, read)
        for path, s in found
    ]


@pytest.mark.parametrize("count", [2_000, pytest.param(10_000, marks=pytest.mark.soak)])
@IN_MEMORY
def test_hostile_requests(make_bombshell: Callable[..., Running], count: int, seed: int) -> None:
    running = make_bombshell(max_uncommitted_bytes=8 << 20)
    outside = running.home / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(SECRET)
    (running.silo / "link").symlink_to(outside)
    (running.silo / "a").mkdir()
    (running.silo / "a" / "up").symlink_to("../..")
    os.mkfifo(running.silo / "fifo")
    control = (
        running.home / "control"
    )  # nothing leads there: who reads it walks over the whole disk
    control.mkdir()
    before = _state(outside, control)
    with running.client() as client:
        client.write("silo", "f", b"warm")
    threads = running.threads()
    descriptors = running.descriptors()
    codes: dict[grpc.StatusCode, int] = {}
    answers: list[bytes] = []
    begun = time.monotonic()

    def run(worker: int) -> list[grpc.StatusCode]:
        attacker = Attacker(seed + worker, outside)
        with running.channel() as channel:
            return [attack(channel, attacker, answers) for _ in range(count // 8)]

    with ThreadPoolExecutor(8) as pool:
        for found in pool.map(run, range(8)):
            for code in found:
                codes[code] = codes.get(code, 0) + 1
    took = time.monotonic() - begun

    told = f"seed {seed}, {took:.1f} s, {codes}"
    assert running.process is not None
    assert running.process.poll() is None, told
    assert sum(codes.values()) == count
    assert set(codes) <= CODES | {grpc.StatusCode.OK}, told
    assert codes[grpc.StatusCode.OK] > count // 100, (
        f"{told}: hardly anything got through, this proved little"
    )
    assert not [answer for answer in answers if SECRET in answer], told
    assert _state(outside, control) == before, told
    assert (outside / "secret").read_bytes() == SECRET
    assert sorted(path.name for path in running.home.iterdir()) == [
        *(
            "b.sock",
            "b.sock.lock",
            "config.toml",
            "control",
            "log",
            "outside",
            "pki",
            "proc",
            "silo",
        )
    ], told
    wait_until(lambda: not running.temporaries(), f"no temporary file is left ({told})")
    wait_until(lambda: running.descriptors() <= descriptors + 4, f"no descriptor leaked ({told})")
    # Threads of the pool stay, up to its bound; nothing else may grow.
    assert running.threads() <= threads + 200, told
    with running.client() as client:
        client.write("silo", "after", b"it lives on")
        # Some of what was made is 2,000 directories deep.
        for path in running.content():
            client.remove("silo", os.fsencode(path.name), recursive=True)
    assert running.content() == []
    assert "Traceback" not in running.log


def test_bytes_that_are_no_tls_and_no_http2(bombshell: Running) -> None:
    import socket

    draw = random.Random(7)
    before = bombshell.descriptors()
    for number in range(200):
        with socket.socket(socket.AF_UNIX) as raw:
            raw.connect(str(bombshell.socket))
            if number % 3:
                raw.settimeout(1)
                try:
                    raw.sendall(draw.randbytes(draw.randrange(1, 3000)))
                except OSError:
                    continue
    assert bombshell.answers()
    wait_until(lambda: bombshell.descriptors() <= before + 2, "no descriptor leaked")


def test_health_answers_under_attack(bombshell: Running) -> None:
    stop: list[bool] = []

    def run(worker: int) -> None:
        attacker = Attacker(worker, bombshell.home)
        with bombshell.channel() as channel:
            while not stop:
                attack(channel, attacker, [])

    from grpc_health.v1 import health_pb2, health_pb2_grpc

    with ThreadPoolExecutor(4) as pool, bombshell.channel() as channel:
        running = [pool.submit(run, worker) for worker in range(4)]
        try:
            for _ in range(20):
                health_pb2_grpc.HealthStub(channel).Check(
                    health_pb2.HealthCheckRequest(), timeout=5
                )
        finally:
            stop.append(True)
        for future in running:
            future.result(30)
