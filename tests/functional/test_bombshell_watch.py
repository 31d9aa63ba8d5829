"""Watch on the silo: notifications by inotify. (Mounts: test_bombshell_mounts.)"""

from __future__ import annotations

import shutil
import threading

import pytest

from tambourinefs import errors
from tambourinefs.rpc.client import Client, Watching
from tests.functional.bombshells import IN_MEMORY, Running


def until(watch: Watching, kind: str, path: bytes) -> list[tuple[str, bytes]]:
    """Read notifications until this one."""
    seen: list[tuple[str, bytes]] = []
    timer = threading.Timer(15, watch.close)
    timer.start()
    try:
        for bell in watch:
            seen.append(bell)
            if bell == (kind, path):
                return seen
    finally:
        timer.cancel()
    raise AssertionError(f"no ({kind}, {path!r}) among {seen}")


def test_first_event_comes_when_the_watch_is_in_place(client: Client) -> None:
    for number in range(30):
        with client.watch("silo", "", 2) as watch:
            assert next(watch) == ("resync", b"")
            client.write("silo", f"a/b{number}", b"", parents=True)
            until(watch, "changed", b"a/b%d" % number)


def test_changes_in_new_directories_are_reported(client: Client) -> None:
    with client.watch("silo", "", 2) as watch:
        next(watch)
        client.write("silo", "ns/name/tambourine.json", b"{}", parents=True)
        until(watch, "changed", b"ns/name/tambourine.json")
        client.remove("silo", "ns", recursive=True)
        until(watch, "removed", b"ns")


def test_depth_bounds_the_events(client: Client) -> None:
    client.make_directory("silo", "a/b", parents=True)
    with client.watch("silo", "", 1) as watch:
        next(watch)
        client.write("silo", "a/b/c", b"")
        client.write("silo", "a/d", b"")
        seen = until(watch, "changed", b"a/d")
        assert not [path for _, path in seen if path.startswith(b"a/b/")]
    with pytest.raises(errors.InvalidInput, match="depth"):
        next(client.watch("silo", "", 9))


def test_uploads_are_reported_under_their_final_name_alone(client: Client) -> None:
    with client.watch("silo", "", 2) as watch:
        next(watch)
        for number in range(20):
            client.write("silo", f"f{number}", b"x" * 1000)
        seen = until(watch, "changed", b"f19")
    assert not [path for _, path in seen if b".bombshell" in path]


def test_a_file_is_watched_through_its_replacements(client: Client) -> None:
    client.write("silo", "d/f", b"", parents=True)
    client.write("silo", "d/other", b"")
    with client.watch("silo", "d/f") as watch:
        assert next(watch) == ("resync", b"d/f")
        for _ in range(3):
            client.write("silo", "d/other", b"1")
            client.write("silo", "d/f", b"2")
            assert next(watch) == ("changed", b"d/f")
        client.remove("silo", "d/f")
        until(watch, "removed", b"d/f")
        with pytest.raises(errors.NotFound):
            next(watch)


def test_a_directory_that_is_gone_ends_its_watch(client: Client) -> None:
    client.make_directory("silo", "d/e", parents=True)
    with client.watch("silo", "d/e", 1) as watch:
        next(watch)
        client.remove("silo", "d", recursive=True)
        until(watch, "removed", b"d/e")
        with pytest.raises(errors.NotFound):
            next(watch)
    with pytest.raises(errors.NotFound):
        next(client.watch("silo", "d/e", 1))


def test_replaced_directory_continues_with_a_resync(bombshell: Running, client: Client) -> None:
    """Renamed away, and another put in its place: what is told is of the name, not of the inode."""
    client.make_directory("silo", "d")
    client.make_directory("silo", "new")
    with client.watch("silo", "d", 1) as watch:
        next(watch)
        for number in range(5):
            client.make_directory("silo", f"new{number}")
            _exchange(bombshell, "d", f"new{number}")
            until(watch, "resync", b"d")
            client.write("silo", "d/f", b"")
            until(watch, "changed", b"d/f")


def _exchange(running: Running, one: str, other: str) -> None:
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    paths = [str(running.silo / name).encode() for name in (one, other)]
    assert libc.renameat2(-100, paths[0], -100, paths[1], 2) == 0


@IN_MEMORY
def test_burst_is_reported_whole_or_as_resync(bombshell: Running, client: Client) -> None:
    """Trouble 22: more events than any queue holds; the client reads late, and misses nothing that it is not told of."""
    with client.watch("silo", "", 2) as watch:
        next(watch)
        top = bombshell.silo / "burst"
        for turn in range(3):
            top.mkdir()
            for number in range(4000):
                (top / f"{turn}.{number}").touch()
            shutil.rmtree(top)
        client.write("silo", "last", b"")
        kinds = set()
        for kind, path in watch:
            kinds.add(kind)
            if (kind, path) == ("changed", b"last") or kind == "resync":
                break
    assert kinds


def test_closing_ends_a_watch_without_an_error(client: Client) -> None:
    watch = client.watch("silo")
    next(watch)
    threading.Timer(0.2, watch.close).start()
    assert list(watch) == []
    assert list(client.watch("silo", timeout=0.3)) == [("resync", b"")]


def test_a_link_cannot_be_watched(bombshell: Running, client: Client) -> None:
    (bombshell.home / "outside").mkdir()
    (bombshell.silo / "link").symlink_to(bombshell.home / "outside")
    (bombshell.silo / "d").mkdir()
    with pytest.raises(errors.TambourineError, match="symbolic link"):
        next(client.watch("silo", "link/x", 1))
    with client.watch("silo", "", 4) as watch:
        next(watch)
        (bombshell.home / "outside" / "secret").touch()
        (bombshell.silo / "d" / "f").touch()
        seen = until(watch, "changed", b"d/f")
    assert not [path for _, path in seen if b"secret" in path]


def test_watches_release_their_resources(bombshell: Running, client: Client) -> None:
    from tests.functional.bombshells import wait_until

    def cycle() -> None:
        for _ in range(50):
            with client.watch("silo", "", 3) as watch:
                next(watch)

    before = bombshell.descriptors()
    for _ in range(4):
        cycle()
        wait_until(lambda: bombshell.descriptors() <= before + 2, f"back to {before} descriptors")
