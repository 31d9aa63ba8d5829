"""Opening and replacing files below a directory: no link followed, nothing left half."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tambourinefs import files


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[int]:
    (tmp_path / "tree").mkdir()
    fd = os.open(tmp_path / "tree", os.O_RDONLY | os.O_DIRECTORY)
    yield fd
    os.close(fd)


@pytest.mark.parametrize(
    ("path", "number"),
    [
        (b"../canary", errno.EXDEV),
        (b"/etc/passwd", errno.EXDEV),
        (b"link", errno.ELOOP),
        (b"dirlink/f", errno.ELOOP),
        (b"a\0b", errno.EINVAL),
        (b"x" * 256, errno.ENAMETOOLONG),
    ],
)
def test_no_path_leaves_the_tree(tree: int, tmp_path: Path, path: bytes, number: int) -> None:
    (tmp_path / "canary").write_text("secret")
    os.symlink("../canary", "link", dir_fd=tree)
    os.symlink("..", "dirlink", dir_fd=tree)
    with pytest.raises(OSError) as caught:
        files.open_beneath(tree, path, os.O_RDONLY)
    assert caught.value.errno == number


def test_the_empty_path_is_the_directory_itself(tree: int) -> None:
    fd = files.open_beneath(tree, b"", os.O_RDONLY | os.O_DIRECTORY)
    assert os.path.sameopenfile(fd, tree)
    os.close(fd)


def test_replace_sets_content_and_mode_whatever_the_umask(tree: int) -> None:
    old = os.umask(0o777)
    try:
        files.replace_durably(tree, "f", b"one", mode=0o644)
        files.replace_durably(tree, "f", b"two", mode=0o4755)
    finally:
        os.umask(old)
    fd = files.open_beneath(tree, b"f", os.O_RDONLY)
    assert (os.read(fd, 10), os.fstat(fd).st_mode & 0o7777) == (b"two", 0o4755)
    os.close(fd)
    assert os.listdir(tree) == ["f"]


def test_a_replace_that_fails_changes_nothing_and_leaves_nothing(tree: int) -> None:
    os.mkdir("f", dir_fd=tree)
    with pytest.raises(IsADirectoryError):
        files.replace_durably(tree, "f", b"x", mode=0o644)
    assert os.listdir(tree) == ["f"]


def test_a_link_in_the_way_is_replaced_not_followed(tree: int, tmp_path: Path) -> None:
    (tmp_path / "canary").write_text("old")
    os.symlink("../canary", "f", dir_fd=tree)
    files.replace_durably(tree, "f", b"new", mode=0o644)
    assert (tmp_path / "canary").read_text() == "old"
    assert (tmp_path / "tree" / "f").read_text() == "new"


def test_mount_id_differs_between_mounts(tree: int) -> None:
    proc = os.open("/proc", os.O_RDONLY)
    assert files.mount_id(tree) != files.mount_id(proc)
    os.close(proc)


def test_filesystem_type_is_that_of_statfs(tree: int) -> None:
    proc = os.open("/proc", os.O_RDONLY)
    assert files.filesystem_type(proc) == 0x9FA0  # PROC_SUPER_MAGIC, statfs(2)
    os.close(proc)
