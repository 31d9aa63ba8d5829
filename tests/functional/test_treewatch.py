"""The watch of a directory tree: it reports all changes, and when it may have missed some."""

from __future__ import annotations

import os
import resource
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tambourinefs.errors import OutOfSpace
from tambourinefs.treewatch import RESYNC, Change, Kind, TreeWatch


@pytest.fixture
def watch(tmp_path: Path) -> Iterator[TreeWatch]:
    with TreeWatch(tmp_path, depth=2) as made:
        yield made


def changed(path: bytes) -> Change:
    return Change(path, Kind.CHANGED)


def test_file_two_levels_down_in_new_directories_notifies(watch: TreeWatch, tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "f").write_text("x")
    assert changed(b"a/b/f") in watch.read()
    assert watch.read() == []


def test_changes_below_the_depth_are_not_reported(watch: TreeWatch, tmp_path: Path) -> None:
    deep = tmp_path / "a" / "b" / "c"
    deep.mkdir(parents=True)
    watch.read()
    (deep / "f").write_text("x")
    assert [c for c in watch.read() if c.path == b"a/b/c/f"] == []


def test_renamed_directory_notifies_under_its_new_name_only(
    watch: TreeWatch, tmp_path: Path
) -> None:
    (tmp_path / "old").mkdir()
    watch.read()
    (tmp_path / "old").rename(tmp_path / "new")
    changes = watch.read()
    assert Change(b"old", Kind.REMOVED) in changes
    (tmp_path / "new" / "f").write_text("x")
    assert {c.path for c in watch.read()} == {b"new/f"}


def test_directory_moved_out_of_the_tree_stops_notifying(
    tmp_path: Path,
) -> None:
    tree, outside = tmp_path / "tree", tmp_path / "outside"
    (tree / "d").mkdir(parents=True)
    outside.mkdir()
    with TreeWatch(tree, depth=2) as watch:
        (tree / "d").rename(outside / "d")
        assert watch.read() == [Change(b"d", Kind.REMOVED)]
        (outside / "d" / "f").write_text("x")
        assert watch.read() == []


def test_removed_and_recreated_at_once_ends_watched(watch: TreeWatch, tmp_path: Path) -> None:
    for _ in range(50):
        (tmp_path / "ns").mkdir()
        (tmp_path / "ns").rmdir()
    (tmp_path / "ns").mkdir()
    watch.read()
    (tmp_path / "ns" / "f").write_text("x")
    assert changed(b"ns/f") in watch.read()


def test_a_directory_that_takes_anothers_place_counts_once(tmp_path: Path) -> None:
    with TreeWatch(tmp_path, depth=2, limit=8) as watch:
        for n in range(30):
            (tmp_path / "new").mkdir()
            (tmp_path / "new").rename(tmp_path / "d")
            assert changed(b"d") in watch.read()
            (tmp_path / "d" / f"{n}").touch()
            assert changed(b"d/%d" % n) in watch.read()
            (tmp_path / "d" / f"{n}").unlink()
            watch.read()


def test_thousands_of_directories_may_go_at_once(tmp_path: Path) -> None:
    """Whoever reads is a daemon's one thread: the time must not rise with the square of their number (it took 3 s)."""
    for n in range(5000):
        (tmp_path / "ns" / f"{n}").mkdir(parents=True)
    with TreeWatch(tmp_path, depth=2) as watch:
        shutil.rmtree(tmp_path / "ns")
        begun = time.thread_time()
        assert Change(b"ns", Kind.REMOVED) in watch.read()
        assert time.thread_time() - begun < 1


def test_overflowed_queue_is_one_resync_and_the_watch_continues(
    watch: TreeWatch, tmp_path: Path
) -> None:
    limit = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    (tmp_path / "d").mkdir()
    watch.read()
    for number in range(limit // 2 + 10):
        name = tmp_path / "d" / str(number)
        os.close(os.open(name, os.O_CREAT | os.O_WRONLY))
        name.unlink()
    (tmp_path / "new").mkdir()  # its event is lost
    assert watch.read() == [RESYNC]
    (tmp_path / "new" / "f").write_text("x")
    assert changed(b"new/f") in watch.read()


def test_a_link_to_a_directory_is_not_entered(watch: TreeWatch, tmp_path: Path) -> None:
    outside = tmp_path.parent / (tmp_path.name + "-outside")
    outside.mkdir()
    (tmp_path / "link").symlink_to(outside)
    watch.read()
    (outside / "secret").write_text("x")
    assert watch.read() == []


def test_the_root_removed_is_gone_and_resync(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    with TreeWatch(root, depth=1) as watch:
        root.rmdir()
        assert watch.read() == [RESYNC]
        assert watch.gone


def test_too_many_directories_is_an_error_and_leaks_nothing(tmp_path: Path) -> None:
    for number in range(5):
        (tmp_path / str(number)).mkdir()
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(OutOfSpace, match="more than 3 directories"):
        TreeWatch(tmp_path, depth=1, limit=3)
    assert len(os.listdir("/proc/self/fd")) == before


def test_no_descriptor_left_is_an_error_that_leaks_nothing(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before, hard))
    try:
        with pytest.raises((OSError, OutOfSpace)):
            TreeWatch(tmp_path, depth=1)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert len(os.listdir("/proc/self/fd")) == before
