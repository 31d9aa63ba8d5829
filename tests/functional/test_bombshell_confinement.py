"""Trouble 21: whatever lies in the silo or is asked for, nothing outside is read, written or waited for."""

from __future__ import annotations

import os
import socket
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tambourinefs import errors
from tambourinefs.rpc.client import Client
from tests.functional.bombshells import IN_MEMORY, Running

SECRET = b"not readable through the silo"


@pytest.fixture
def outside(bombshell: Running) -> Iterator[Path]:
    """A directory beside the silo that must be untouched in the end."""
    directory = bombshell.home / "outside"
    directory.mkdir()
    (directory / "secret").write_bytes(SECRET)
    before = _state(directory)
    yield directory
    assert _state(directory) == before


def _state(directory: Path) -> list[tuple[str, int, int, bytes]]:
    return [
        (path.name, path.stat().st_ino, path.stat().st_mtime_ns, path.read_bytes())
        for path in sorted(directory.iterdir())
    ]


def attempts(client: Client, path: str) -> dict[str, Callable[[], object]]:
    return {
        "read": lambda: client.read("silo", path),
        "list": lambda: client.list("silo", path),
        "write": lambda: client.write("silo", path, b"bad"),
        "write with parents": lambda: client.write("silo", path, b"bad", parents=True),
        "write if absent": lambda: client.write("silo", path, b"bad", if_absent=True),
        "make": lambda: client.make_directory("silo", path),
        "make with parents": lambda: client.make_directory("silo", path + "/x", parents=True),
        "remove": lambda: client.remove("silo", path),
        "remove all": lambda: client.remove("silo", path, recursive=True),
        "watch": lambda: next(client.watch("silo", path, 3)),
        "stat": lambda: client.stat("silo", path),
    }


def test_links_lead_nowhere(bombshell: Running, client: Client, outside: Path) -> None:
    silo = bombshell.silo
    targets: dict[str, str | Path] = {
        "to-file": outside / "secret",
        "to-dir": outside,
        "up": "..",
        "up-file": "../outside/secret",
        "root": "/",
        "loop": "loop",
        "proc-self-root": "/proc/self/root",
        "proc-self-cwd": "/proc/self/cwd",
    }
    for name, target in targets.items():
        (silo / name).symlink_to(target)
    for name in targets:
        for path in (f"{name}/secret", f"{name}/new", f"{name}/outside/secret"):
            for what, attempt in attempts(client, path).items():
                with pytest.raises(errors.TambourineError):
                    assert attempt() is None, (what, path)
        for what in (
            "read",
            "list",
            "write",
            "write if absent",
            "make",
            "write with parents",
        ):
            with pytest.raises(errors.TambourineError):
                attempts(client, name)[what]()
        assert client.stat("silo", name).kind == "symlink"
    # A link itself can be removed, alone and with the tree that it is in.
    client.remove("silo", "to-dir")
    client.make_directory("silo", "tree")
    (silo / "tree" / "link").symlink_to(outside)
    client.remove("silo", "tree", recursive=True)


@IN_MEMORY
def test_a_link_that_is_put_in_place_while_requests_run_is_never_followed(
    bombshell: Running, client: Client, outside: Path
) -> None:
    """A directory and a link to the outside change places all the time; no request ever ends up there."""
    silo = bombshell.silo
    (silo / "real").mkdir()
    (silo / "real" / "secret").write_bytes(b"harmless")
    (silo / "evil").symlink_to(outside)
    stop = threading.Event()

    def swap() -> None:
        while not stop.wait(
            0.0002
        ):  # many times in each request, and the requests have a processor too
            _exchange(silo / "real", silo / "evil")

    thread = threading.Thread(target=swap)
    thread.start()
    followed = refused = 0
    try:
        for number in range(400):
            try:
                assert client.read("silo", "real/secret")[1] == b"harmless"
                followed += 1
            except errors.TambourineError:
                refused += 1
            for attempt in (
                lambda: client.write("silo", "real/new", b"x"),
                lambda: client.make_directory("silo", "real/d", parents=True),
                lambda n=number: client.remove("silo", "real/d", recursive=bool(n % 2)),
                lambda: client.remove("silo", "real/secret", if_match="no such etag"),
            ):
                try:
                    attempt()
                except errors.TambourineError:
                    refused += 1
    finally:
        stop.set()
        thread.join()
    assert followed, "the directory was never there"
    assert refused, "the link was never there"
    assert not (outside / "new").exists()
    assert not (outside / "d").exists()


def _exchange(one: Path, other: Path) -> None:
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.renameat2(-100, bytes(one), -100, bytes(other), 2) == 0


def test_only_regular_files_are_opened_or_replaced(bombshell: Running, client: Client) -> None:
    silo = bombshell.silo
    os.mkfifo(silo / "fifo")
    os.mknod(silo / "null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    os.mknod(silo / "disk", 0o666 | stat.S_IFBLK, os.makedev(7, 250))
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(silo / "socket"))
        listener.listen()
        for name in ("fifo", "null", "disk", "socket"):
            before = (silo / name).lstat()
            for what in ("read", "write", "write with parents", "list", "make"):
                with pytest.raises(errors.TambourineError):
                    attempts(client, name)[what]()
            with pytest.raises(errors.TambourineError):
                client.write("silo", name, b"", if_match="*")
            assert client.stat("silo", name).kind == "other"
            assert (silo / name).lstat().st_ino == before.st_ino
        # The FIFO was not opened: a writer would not block.
        with pytest.raises(OSError, match="No such device or address"):
            os.open(silo / "fifo", os.O_WRONLY | os.O_NONBLOCK)
        for name in ("fifo", "null", "disk", "socket"):
            client.remove("silo", name)


def test_a_hard_link_is_replaced_not_written_through(
    bombshell: Running, client: Client, outside: Path
) -> None:
    os.link(outside / "secret", bombshell.silo / "hard")
    client.write("silo", "hard", b"new")
    assert (outside / "secret").read_bytes() == SECRET
    os.link(outside / "secret", bombshell.silo / "hard2")
    client.remove("silo", "hard2")


def test_long_and_strange_names(bombshell: Running, client: Client) -> None:
    strange = [
        b"x" * 255,
        b"new\nline",
        b"tab\t",
        b"\x01\x7f",
        b"-rf",
        b"*",
        b"~",
        b"\xf0\x9f\xa5\x81",
        b"\xed\xa0\x80",
    ]
    for name in strange:
        client.write("silo", name + b"/" + name, b"x", parents=True)
        assert [e.name for e in client.list("silo", name)] == [name]
    assert {e.name for e in client.list("silo", "")} >= set(strange)
    deep = "/".join(["d" * 200] * 19)
    client.write("silo", deep + "/f", b"x", parents=True)
    client.remove("silo", "d" * 200, recursive=True)
    for name in strange:
        client.remove("silo", name, recursive=True)
    assert bombshell.content() == []


def test_the_log_stays_one_line_a_request(bombshell: Running, client: Client) -> None:
    client.write("silo", "a\nINFO bombshell: forged", b"")
    assert "wrote silo:/a\\nINFO bombshell: forged for" in bombshell.log
