"""What each rpc of io.proto promises, asked of a real server over plain directories."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from tambourinefs import errors
from tambourinefs.rpc import io_pb2
from tambourinefs.rpc.client import Client
from tambourinefs.rpc.io_pb2_grpc import BombshellStub
from tests.functional.bombshells import Running

SILO = io_pb2.VOLUME_SILO
CHUNK = 256 * 1024


def header(path: bytes, **fields: object) -> io_pb2.WriteRequest:
    return io_pb2.WriteRequest(header=io_pb2.WriteHeader(volume=SILO, path=path, **fields))  # type: ignore[arg-type]


def chunk(data: bytes) -> io_pb2.WriteRequest:
    return io_pb2.WriteRequest(chunk=data)


def commit(sha256: bytes = b"") -> io_pb2.WriteRequest:
    return io_pb2.WriteRequest(commit=io_pb2.WriteCommit(sha256=sha256))


def reason(error: grpc.RpcError) -> tuple[grpc.StatusCode, str]:
    """The code and the errno's name in ErrorInfo."""
    info = error_details_pb2.ErrorInfo()
    status = rpc_status.from_call(error)
    assert status is not None, error
    assert status.details[0].Unpack(info)
    return error.code(), info.reason


def refused(call: Callable[[], object]) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return reason(caught.value)


@pytest.fixture
def bombshell(shared_bombshell: Running) -> Iterator[Running]:
    """One server for all of them, emptied after each."""
    yield shared_bombshell
    shared_bombshell.empty()


NAMES = [
    b"plain",
    b"with space",
    b"line\nbreak",
    b"\xff\xfe not utf-8",
    b"x" * 255,
    "größe".encode(),
]


@pytest.mark.parametrize("name", NAMES)
def test_written_content_is_read_back_under_any_name(
    bombshell: Running, client: Client, name: bytes
) -> None:
    written = client.write("silo", name, b"content")
    entry, data = client.read("silo", name)
    assert (data, entry) == (b"content", written)
    assert entry.name == name
    assert (os.fsencode(bombshell.silo) + b"/" + name) in [
        entry.path for entry in os.scandir(os.fsencode(bombshell.silo))
    ]


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 5 * CHUNK + 17])
def test_content_of_any_size_arrives_unchanged(client: Client, size: int) -> None:
    data = os.urandom(size)
    assert client.write("silo", "file", data).size == size
    assert client.read("silo", "file")[1] == data


def test_a_read_gives_the_part_that_was_asked_for(client: Client) -> None:
    data = os.urandom(3 * CHUNK)
    client.write("silo", "file", data)
    for offset, length in [
        (0, 10),
        (5, 0),
        (CHUNK - 1, CHUNK + 2),
        (3 * CHUNK, 5),
        (3 * CHUNK - 1, 9),
    ]:
        _, chunks = client.read_stream("silo", "file", offset=offset, length=length)
        assert b"".join(chunks) == data[offset : offset + length if length else None]
    for offset in (1 << 62, (1 << 63) - 1, 1 << 63, (1 << 64) - 1):
        assert b"".join(client.read_stream("silo", "file", offset=offset)[1]) == b""
    assert b"".join(client.read_stream("silo", "file", length=(1 << 64) - 1)[1]) == data


def test_modes_are_as_asked_whatever_the_umask(bombshell: Running, client: Client) -> None:
    client.write("silo", "a/default", b"", parents=True)
    client.write("silo", "a/world", b"", mode=0o666)
    client.make_directory("silo", "d", mode=0o775)
    found = {
        name: stat.S_IMODE((bombshell.silo / name).stat().st_mode)
        for name in ("a", "a/default", "a/world", "d")
    }
    assert found == {"a": 0o750, "a/default": 0o640, "a/world": 0o666, "d": 0o775}


def test_if_match_and_if_absent(client: Client) -> None:
    first = client.write("silo", "f", b"1", if_absent=True)
    with pytest.raises(errors.AlreadyExists):
        client.write("silo", "f", b"2", if_absent=True)
    second = client.write("silo", "f", b"2", if_match=first.etag)
    assert second.etag != first.etag
    for stale in (first.etag, "", "nonsense"):
        with pytest.raises(errors.Conflict, match="etag"):
            client.write("silo", "f", b"3", if_match=stale)
    client.write("silo", "f", b"4", if_match="*")
    with pytest.raises(errors.Conflict, match="does not exist"):
        client.write("silo", "g", b"", if_match="*")
    with pytest.raises(errors.Conflict):
        client.remove("silo", "f", if_match=second.etag)
    client.remove("silo", "f", if_match=client.stat("silo", "f").etag)
    with pytest.raises(errors.NotFound):
        client.stat("silo", "f")


def test_an_empty_etag_matches_nothing(bombshell: Running, client: Client) -> None:
    """A directory has none; whoever hands it back has compared nothing."""
    client.write("silo", "d/f", b"1", parents=True)
    assert client.stat("silo", "d").etag == ""
    for path in ("d", "d/f"):
        with pytest.raises(errors.Conflict):
            client.remove("silo", path, if_match="", recursive=True)
    assert bombshell.content()
    client.remove("silo", "d", if_match="*", recursive=True)
    assert not bombshell.content()


def test_an_etag_never_comes_back(client: Client) -> None:
    seen = [client.write("silo", "f", b"same").etag for _ in range(300)]
    assert len(set(seen)) == len(seen)


def test_parents_are_made_only_when_asked_for(bombshell: Running, client: Client) -> None:
    with pytest.raises(errors.NotFound):
        client.write("silo", "a/b/c", b"")
    assert bombshell.content() == []
    client.write("silo", "a/b/c", b"", parents=True)
    client.make_directory("silo", "a/b", parents=True)
    with pytest.raises(errors.AlreadyExists):
        client.make_directory("silo", "a/b")
    with pytest.raises(errors.AlreadyExists):
        client.make_directory("silo", "")
    with pytest.raises(errors.NotFound):
        client.make_directory("silo", "x/y")


BROKEN: dict[str, tuple[list[io_pb2.WriteRequest], grpc.StatusCode, str]] = {
    "nothing": ([], grpc.StatusCode.INVALID_ARGUMENT, "EPROTO"),
    "no header": ([chunk(b"x"), commit()], grpc.StatusCode.INVALID_ARGUMENT, "EPROTO"),
    "an empty message": ([io_pb2.WriteRequest()], grpc.StatusCode.INVALID_ARGUMENT, "EPROTO"),
    "two headers": (
        [header(b"d/f", parents=True), header(b"g")],
        grpc.StatusCode.INVALID_ARGUMENT,
        "EPROTO",
    ),
    "no commit": (
        [header(b"d/f", parents=True), chunk(b"x")],
        grpc.StatusCode.INVALID_ARGUMENT,
        "EPROTO",
    ),
    "more after the commit": (
        [header(b"d/f", parents=True), commit(), chunk(b"x")],
        grpc.StatusCode.INVALID_ARGUMENT,
        "EPROTO",
    ),
    "another sha256": (
        [header(b"d/f", parents=True), chunk(b"x"), commit(hashlib.sha256(b"y").digest())],
        grpc.StatusCode.DATA_LOSS,
        "EBADMSG",
    ),
    "larger than said": (
        [header(b"d/f", parents=True, size=1), chunk(b"xy"), commit()],
        grpc.StatusCode.INVALID_ARGUMENT,
        "EINVAL",
    ),
    "smaller than said": (
        [header(b"d/f", parents=True, size=3), chunk(b"xy"), commit()],
        grpc.StatusCode.INVALID_ARGUMENT,
        "EINVAL",
    ),
    "too large, said at once": (
        [header(b"d/f", parents=True, size=1 << 60)],
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        "EFBIG",
    ),
    "a chunk too large": (
        [header(b"d/f", parents=True), chunk(bytes(CHUNK + 1)), commit()],
        grpc.StatusCode.INVALID_ARGUMENT,
        "EINVAL",
    ),
    "a mode beyond 0777": (
        [header(b"f", mode=0o4755), commit()],
        grpc.StatusCode.INVALID_ARGUMENT,
        "EINVAL",
    ),
    "contradicting conditions": (
        [header(b"f", if_absent=True, if_match="*"), commit()],
        grpc.StatusCode.INVALID_ARGUMENT,
        "EINVAL",
    ),
    "the root": ([header(b""), commit()], grpc.StatusCode.FAILED_PRECONDITION, "EISDIR"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_upload_writes_nothing(bombshell: Running, stub: BombshellStub, case: str) -> None:
    messages, code, name = BROKEN[case]
    assert refused(lambda: stub.Write(iter(messages))) == (code, name)
    assert bombshell.content() == []


def test_a_message_that_is_no_message_after_the_commit_writes_nothing(bombshell: Running) -> None:
    """Found by reading grpc: it ends the stream of requests as if the client had."""
    with bombshell.channel() as channel:
        write: grpc.StreamUnaryMultiCallable[bytes, bytes] = channel.stream_unary(
            "/tambourine.bombshell.v1.Bombshell/Write"
        )
        messages = [header(b"f").SerializeToString(), commit().SerializeToString(), b"\xff\xff\xff"]
        with pytest.raises(grpc.RpcError):
            write(iter(messages))
    assert bombshell.content() == []


def test_a_directory_is_listed_whole_in_pages(
    bombshell: Running, client: Client, stub: BombshellStub
) -> None:
    names = {f"f{number:04}".encode() for number in range(1000)}
    (bombshell.silo / "d").mkdir()
    for name in names:
        (bombshell.silo / "d" / name.decode()).touch()
    (bombshell.silo / "d" / ".bombshell-0123456789abcdef").touch()
    listed = client.list("silo", "d")
    assert len(listed) == 1000
    assert {entry.name for entry in listed} == names
    pages = list(stub.List(io_pb2.ListRequest(volume=SILO, path=b"d")))
    assert max(len(page.entries) for page in pages) <= 256


def test_an_entry_that_stays_is_listed_once_while_others_come_and_go(
    bombshell: Running, client: Client
) -> None:
    import threading

    for number in range(500):
        (bombshell.silo / f"stays{number}").touch()
    stop = threading.Event()

    def churn() -> None:
        count = 0
        while not stop.is_set():
            path = bombshell.silo / f"goes{count % 50}"
            path.touch()
            path.unlink()
            count += 1

    thread = threading.Thread(target=churn)
    thread.start()
    try:
        for _ in range(20):
            names = [e.name for e in client.list("silo", "") if e.name.startswith(b"stays")]
            assert len(names) == len(set(names)) == 500
    finally:
        stop.set()
        thread.join()


def test_stat_describes_every_kind(bombshell: Running, client: Client) -> None:
    (bombshell.silo / "link").symlink_to("nowhere")
    (bombshell.silo / "dir").mkdir(mode=0o755)
    kinds = {name: client.stat("silo", name).kind for name in ("", "link", "dir")}
    assert kinds == {"": "directory", "link": "symlink", "dir": "directory"}
    assert client.stat("silo", "").name == b""
    listed = {e.name: e.kind for e in client.list("silo", "") if e.name[:1] != b"."}
    assert listed == {
        b"link": "symlink",
        b"dir": "directory",
    }


def test_remove(bombshell: Running, client: Client) -> None:
    client.write("silo", "d/e/f", b"", parents=True)
    (bombshell.silo / "d" / "link").symlink_to("/etc")
    with pytest.raises(errors.Conflict, match="not empty"):
        client.remove("silo", "d")
    with pytest.raises(errors.NotFound):
        client.remove("silo", "d/none")
    client.remove("silo", "d/e/f")
    client.remove("silo", "d/e")
    client.remove("silo", "d", recursive=True)
    with pytest.raises(errors.HostError):
        client.remove("silo", "", recursive=True)
    assert bombshell.content() == []


def test_a_deep_and_wide_tree_is_removed_whole(bombshell: Running, client: Client) -> None:
    path = bombshell.silo / "top"
    path.mkdir()
    for level in range(200):
        path = path / f"d{level % 7}"
        path.mkdir()
        for number in range(3):
            (path / f"f{number}").touch()
    client.remove("silo", "top", recursive=True)
    assert bombshell.content() == []


def test_proc_is_read_only(bombshell: Running, client: Client) -> None:
    (bombshell.proc / "services.txt").write_text("hello")
    assert client.read("proc", "services.txt")[1] == b"hello"
    for call in (
        lambda: client.write("proc", "x", b""),
        lambda: client.remove("proc", "services.txt"),
        lambda: client.make_directory("proc", "x"),
    ):
        with pytest.raises(errors.RefusedByPolicy, match="read-only"):
            call()
    assert [path.name for path in bombshell.proc.iterdir()] == ["services.txt"]


def test_errors_carry_their_reason_volume_and_path(stub: BombshellStub) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        stub.Stat(io_pb2.StatRequest(volume=SILO, path=b"no\nsuch\xff"))
    status = rpc_status.from_call(caught.value)
    assert status is not None
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert (info.domain, info.reason) == ("bombshell.tambourine", "ENOENT")
    assert dict(info.metadata) == {"volume": "silo", "path": "no\\nsuch\\xff"}
    assert status.message == "silo:/no\\nsuch\\xff: No such file or directory"


BAD_PATHS = [
    b"/etc/passwd", b"/", b"..", b"../x", b"a/../b", b".", b"a/./b", b"a//b", b"a/", b"a\0b", b"x" * 256,
    b"/".join([b"d"] * 3000), b".bombshell-0123456789abcdef", b"a/.bombshell-x/b",
]  # fmt: skip


def test_an_error_of_the_longest_path_still_fits_the_wire(stub: BombshellStub) -> None:
    """Three bytes a character, which take nine in the message on the wire; peers refuse more than 8 KiB of it."""
    path = "/".join(["語" * 80] * 16).encode()
    assert len(path) > 3800
    request = io_pb2.StatRequest(volume=SILO, path=path)
    assert refused(lambda: stub.Stat(request)) == (grpc.StatusCode.NOT_FOUND, "ENOENT")


@pytest.mark.parametrize("path", BAD_PATHS, ids=lambda path: repr(path[:20]))
def test_paths_that_are_no_paths_are_refused_in_every_rpc(stub: BombshellStub, path: bytes) -> None:
    calls: list[Callable[[], object]] = [
        lambda: stub.Stat(io_pb2.StatRequest(volume=SILO, path=path)),
        lambda: list(stub.Read(io_pb2.ReadRequest(volume=SILO, path=path))),
        lambda: list(stub.List(io_pb2.ListRequest(volume=SILO, path=path))),
        lambda: stub.Remove(io_pb2.RemoveRequest(volume=SILO, path=path, recursive=True)),
        lambda: stub.MakeDirectory(
            io_pb2.MakeDirectoryRequest(volume=SILO, path=path, parents=True)
        ),
        lambda: list(stub.Watch(io_pb2.WatchRequest(volume=SILO, path=path))),
        lambda: stub.Write(iter([header(path, parents=True), commit()])),
    ]
    for call in calls:
        code, name = refused(call)
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        assert name in ("EINVAL", "ENAMETOOLONG")


def test_a_volume_must_be_named(stub: BombshellStub) -> None:
    for volume in (0, 3, 99):
        assert refused(lambda v=volume: stub.Stat(io_pb2.StatRequest(volume=v)))[1] == "EINVAL"  # type: ignore[misc]


def test_every_errno_in_the_table_round_trips(tmp_path: object) -> None:
    """One table, both ways: what the server meant is what the client raises."""
    from tambourinefs.rpc import errors as table

    class Ended(grpc.RpcError):
        def __init__(self, error: OSError) -> None:
            self._status = rpc_status.to_status(table.to_status(error, volume="silo", path=b"p"))

        def code(self) -> grpc.StatusCode:
            code: grpc.StatusCode = self._status.code
            return code

        def details(self) -> str:
            return str(self._status.details)

        def trailing_metadata(self) -> Any:
            return self._status.trailing_metadata

    for row in table._ROWS:
        ended = Ended(OSError(row.number, "why"))
        ours = table.from_rpc_error(ended)
        assert ended.code().name == row.code
        assert type(ours) is row.error, errno.errorcode[row.number]
        assert ours.message == "silo:/p: why"
    unknown = table.from_rpc_error(Ended(OSError(errno.ENOTTY, "why")))
    assert type(unknown) is errors.HostError


def test_reading_on_while_the_file_is_replaced_gives_the_old_one(client: Client) -> None:
    old, new = os.urandom(8 * CHUNK), os.urandom(8 * CHUNK)
    client.write("silo", "f", old)
    entry, chunks = client.read_stream("silo", "f")
    got = [next(chunks)]
    client.write("silo", "f", new)
    got += list(chunks)
    assert b"".join(got) == old
    assert client.stat("silo", "f").etag != entry.etag


def test_an_upload_may_come_in_pieces_of_any_size(client: Client) -> None:
    def pieces() -> Iterator[bytes]:
        for number in range(200):
            yield bytes([number]) * (number * 37)

    client.write("silo", "f", pieces())
    assert client.read("silo", "f")[1] == b"".join(pieces())
