"""The agent's paths on the host: whatever stands where a file is to be, nothing leads out of the root and nothing hangs."""

from __future__ import annotations

import hashlib
import os
import signal
import socket
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tambourinefs.agent.host.content import Target
from tambourinefs.agent.host.files import HostFiles
from tambourinefs.agent.state.record import Original
from tambourinefs.agent.state.store import Store
from tambourinefs.errors import HostError

LINK = "a part of it is a symbolic link, which is not followed"
SECONDS = 10


@pytest.fixture(autouse=True)
def _no_hang() -> Iterator[None]:
    """A FIFO without a writer would hold whoever opens it: in the kernel, where only a signal ends it."""

    def fired(*_: object) -> None:
        raise AssertionError("it hangs")

    signal.signal(signal.SIGALRM, fired)
    signal.alarm(SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A host's root, and beside it what must not be reached from there."""
    (tmp_path / "root/etc").mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/x").write_text("precious")
    return tmp_path / "root"


@pytest.fixture
def host(root: Path) -> Iterator[HostFiles]:
    with Store(root.parent / "state") as store:
        made = HostFiles(root, store)
        yield made
        made.close()


@pytest.fixture(autouse=True)
def _nothing_outside_was_touched(root: Path) -> Iterator[None]:
    yield
    assert [path.name for path in (root.parent / "outside").iterdir()] == ["x"]
    assert (root.parent / "outside/x").read_text() == "precious"


def target(path: str) -> Target:
    return Target(path, "file", hashlib.sha256(b"ours").hexdigest(), 0o644, "0", "0", b"ours")


CALLS: dict[str, Callable[[HostFiles, str], object]] = {
    "look": lambda host, path: host.look(path),
    "capture": lambda host, path: host.capture(path),
    "missing directories": lambda host, path: host.missing_directories(path),
    "write": lambda host, path: host.write([(target(path), -1)]),
    "restore nothing": lambda host, path: host.restore(path, Original()),
    "restore a link": lambda host, path: host.restore(path, Original("symlink", target="y")),
}
LINKS = {
    "parent, absolute": ("/etc/d/x", "etc/d", "{outside}"),
    "parent, relative": ("/etc/d/x", "etc/d", "../../outside"),
    "parent of the parent": ("/etc/d/e/x", "etc/d", "{outside}"),
    "parent, within the root": ("/etc/d/x", "etc/d", "."),
    "parent, magic": ("/etc/d/x", "etc/d", "/proc/self/root{outside}"),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("link", LINKS)
def test_a_link_on_the_way_is_not_followed(
    root: Path, host: HostFiles, call: str, link: str
) -> None:
    path, place, to = LINKS[link]
    (root / place).symlink_to(to.format(outside=root.parent / "outside"))
    with pytest.raises(HostError, match=LINK) as caught:
        CALLS[call](host, path)
    assert caught.value.message.startswith(f"{path}: ")
    assert sorted(path.name for path in (root / "etc").iterdir()) == ["d"]


def test_directories_behind_a_link_are_not_removed(root: Path, host: HostFiles) -> None:
    (root.parent / "outside/empty").mkdir()
    (root / "etc/d").symlink_to(root.parent / "outside")
    assert host.remove_directories(["/etc/d/empty", "/etc/d"]) == ["/etc/d/empty", "/etc/d"]
    (root.parent / "outside/empty").rmdir()
    assert (root / "etc/d").is_symlink()


def test_leftovers_behind_a_link_are_not_removed(root: Path, host: HostFiles) -> None:
    left = root.parent / "outside/.tambourine-agent-0123456789abcdef"
    left.touch()
    (root / "etc/d").symlink_to(root.parent / "outside")
    host.clear_temporaries(["/etc/d/x"])
    left.unlink()  # FileNotFoundError where it is gone


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


SPECIAL: dict[str, Callable[[Path], Any]] = {
    "a FIFO": os.mkfifo,
    "a socket": _socket,
    "a directory": Path.mkdir,
    "a device": lambda path: os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 3)),
}


@pytest.mark.parametrize("kind", SPECIAL)
def test_what_is_no_regular_file_is_neither_opened_nor_replaced(
    root: Path, host: HostFiles, kind: str
) -> None:
    SPECIAL[kind](root / "etc/x")
    before = (root / "etc/x").lstat()
    assert host.look("/etc/x").kind == kind
    with pytest.raises(HostError, match=f"/etc/x is {kind}: it is not replaced"):
        host.capture("/etc/x")
    after = (root / "etc/x").lstat()
    assert (after.st_ino, after.st_mode) == (before.st_ino, before.st_mode)


def test_a_link_at_the_path_itself_is_replaced_and_put_back_not_followed(
    root: Path, host: HostFiles
) -> None:
    (root / "etc/x").symlink_to(root.parent / "outside/x")
    assert host.look("/etc/x").kind == "symlink"
    was = host.capture("/etc/x")
    host.write([(target("/etc/x"), -1)])
    assert not (root / "etc/x").is_symlink()
    host.restore("/etc/x", was)
    assert (root / "etc/x").readlink() == root.parent / "outside/x"


def test_what_another_hard_link_names_stays(root: Path, host: HostFiles) -> None:
    (root / "etc/x").hardlink_to(root.parent / "outside/x")
    was = host.capture("/etc/x")
    host.write([(target("/etc/x"), -1)])
    assert (root / "etc/x").read_text() == "ours"
    host.restore("/etc/x", was)
    assert (root / "etc/x").read_text() == "precious"
    assert (root / "etc/x").stat().st_nlink == 1


@contextmanager
def swapped_after_the_look(
    monkeypatch: pytest.MonkeyPatch, path: Path, make: Callable[[Path], Any]
) -> Iterator[list[bool]]:
    """The file is another thing between stat(2) and open(2), by accident or by an attack."""
    stats = os.stat
    done: list[bool] = []

    def look(name: Any, *args: Any, **kwargs: Any) -> os.stat_result:
        found = stats(name, *args, **kwargs)
        if name == path.name and not done:
            done.append(True)
            path.unlink()
            make(path)
        return found

    with monkeypatch.context() as patched:
        patched.setattr(os, "stat", look)
        yield done


@pytest.mark.parametrize("call", ["look", "capture"])
@pytest.mark.parametrize("kind", ["a link", "a FIFO", "a device"])
def test_what_takes_a_files_place_meanwhile_is_not_read(
    root: Path, host: HostFiles, monkeypatch: pytest.MonkeyPatch, call: str, kind: str
) -> None:
    def link(path: Path) -> None:
        path.symlink_to(root.parent / "outside/x")

    (root / "etc/x").write_text("theirs")
    make = SPECIAL.get(kind, link)
    says = LINK if make is link else "regular file"
    with (
        swapped_after_the_look(monkeypatch, root / "etc/x", make) as swapped,
        pytest.raises(HostError, match=says),
    ):
        CALLS[call](host, "/etc/x")
    assert swapped
    assert os.listdir(root.parent / "state/originals") == []


@pytest.mark.parametrize("when", ["after the look", "when it is being made"])
def test_a_link_that_takes_a_directorys_place_meanwhile_is_not_followed(
    root: Path, host: HostFiles, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    def link(name: str = "d", *_: object, **__: object) -> bool:
        (root / "etc/d").symlink_to(root.parent / "outside")
        if when == "after the look":
            return False
        raise FileExistsError(name)

    if when == "after the look":
        monkeypatch.setattr(HostFiles, "_is_as_wanted", link)
    else:
        monkeypatch.setattr(os, "mkdir", link)
    with pytest.raises(HostError, match=LINK):
        host.write([(target("/etc/d/x"), -1)])
    assert (root / "etc/d").is_symlink()
