"""The quota in bytes and files: refused before anything is written, counted exactly, shown by df."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.functional.silo_host import SiloHost, errno_of, wait_for

MIB = 1 << 20
BLOCK = 4096


def used(host: SiloHost) -> tuple[int, int]:
    """Bytes and files, as df sees them."""
    shown = os.statvfs(host.mount)
    return (shown.f_blocks - shown.f_bfree) * shown.f_frsize, shown.f_files - shown.f_ffree


def counted(tree: Path) -> tuple[int, int]:
    """The same, counted by another program in the store."""
    listed = subprocess.run(
        ["find", tree, "-mindepth", "1", "-printf", "%i %y %s\n"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split("\n")
    inodes = {tuple(line.split()) for line in listed if line}
    size = sum(-(-int(s) // BLOCK) * BLOCK for _, kind, s in inodes if kind in "fl")
    names = [line for line in listed if line]
    files = len({i for i, kind, _ in inodes if kind != "d"})
    return size, files + sum(1 for n in names if n.split()[1] == "d")


def settled(host: SiloHost) -> None:
    """What df shows becomes what is there: the kernel closes files a moment after close(2) returns."""
    wait_for(f"{counted(host.tree)} in df", lambda: used(host) == counted(host.tree))


def test_df_shows_the_quota(make_silo: Callable[..., SiloHost]) -> None:
    host = make_silo(quota_bytes="8M", quota_files="100")
    shown = os.statvfs(host.mount)
    assert shown.f_blocks * shown.f_frsize == 8 * MIB
    assert shown.f_files == 100
    assert used(host) == (0, 0)


def test_a_write_over_the_quota_writes_nothing(make_silo: Callable[..., SiloHost]) -> None:
    host = make_silo(quota_bytes="1M")
    path = host.mount / "f"
    path.write_bytes(b"x" * (MIB - BLOCK))
    fd = os.open(path, os.O_RDWR)
    os.lseek(fd, 0, os.SEEK_END)
    try:
        assert errno_of(os.write, fd, b"y" * (BLOCK + 1)) == "EDQUOT"
        assert os.fstat(fd).st_size == MIB - BLOCK
        assert os.write(fd, b"y" * BLOCK) == BLOCK
        assert errno_of(os.write, fd, b"z") == "EDQUOT"
        os.pwrite(fd, b"inside", 0)
    finally:
        os.close(fd)
    assert (host.tree / "f").stat().st_size == MIB
    assert used(host)[0] == MIB


def test_the_old_content_stays_when_its_replacement_does_not_fit(
    make_silo: Callable[..., SiloHost],
) -> None:
    host = make_silo(quota_bytes="1M")
    (host.mount / "f").write_bytes(b"old" * 100_000)
    assert errno_of((host.mount / "new").write_bytes, b"n" * MIB) == "EDQUOT"
    assert (host.mount / "f").read_bytes() == b"old" * 100_000


def test_growing_by_truncate_and_by_a_hole_counts(make_silo: Callable[..., SiloHost]) -> None:
    host = make_silo(quota_bytes="1M")
    path = host.mount / "f"
    path.touch()
    assert errno_of(os.truncate, path, MIB + 1) == "EDQUOT"
    assert path.stat().st_size == 0
    fd = os.open(path, os.O_WRONLY)
    try:
        assert errno_of(os.pwrite, fd, b"x", 2 * MIB) == "EDQUOT"
    finally:
        os.close(fd)
    os.truncate(path, MIB)
    assert used(host)[0] == MIB
    os.truncate(path, 0)
    assert used(host)[0] == 0


@pytest.mark.parametrize("make", ["touch", "mkdir", "symlink_to"])
def test_files_over_the_quota(make_silo: Callable[..., SiloHost], make: str) -> None:
    host = make_silo(quota_files="16")
    args = ("target",) if make == "symlink_to" else ()
    for i in range(16):
        getattr(host.mount / str(i), make)(*args)
    assert errno_of(getattr(host.mount / "more", make), *args) == "EDQUOT"
    os.rename(host.mount / "0", host.mount / "renamed")
    assert len(os.listdir(host.tree)) == 16


def test_hard_links_count_once(make_silo: Callable[..., SiloHost]) -> None:
    host = make_silo(quota_bytes="1M", quota_files="20")
    (host.mount / "a").write_bytes(b"x" * 10_000)
    (host.mount / "b").hardlink_to(host.mount / "a")
    assert used(host) == (12_288, 1)
    (host.mount / "a").unlink()
    settled(host)
    assert used(host) == (12_288, 1)
    (host.mount / "b").unlink()
    wait_for("nothing used", lambda: used(host) == (0, 0))


def test_unlinked_but_open_still_counts(make_silo: Callable[..., SiloHost]) -> None:
    host = make_silo(quota_bytes="1M", quota_files="20")
    with (host.mount / "f").open("wb") as held:
        held.write(b"x" * 10_000)
        held.flush()
        (host.mount / "f").unlink()
        assert used(host) == (12_288, 1)
        held.write(b"x" * 10_000)
        held.flush()
        assert used(host) == (20_480, 1)
    wait_for("nothing used", lambda: used(host) == (0, 0))


def test_truncating_an_unlinked_closed_file_changes_no_count(
    make_silo: Callable[..., SiloHost],
) -> None:
    host = make_silo(quota_bytes="2M", quota_files="20")
    (host.mount / "f").write_bytes(b"x" * MIB)
    held = os.open(host.mount / "f", os.O_PATH)
    try:
        (host.mount / "f").unlink()
        wait_for("nothing used", lambda: used(host) == (0, 0))
        for size in (0, MIB, 4096):
            os.truncate(f"/proc/self/fd/{held}", size)
            assert used(host) == (0, 0)
        with open(f"/proc/self/fd/{held}", "rb"):
            assert used(host) == (4096, 1)
    finally:
        os.close(held)
    wait_for("nothing used", lambda: used(host) == (0, 0))


def test_replacing_by_rename_frees_the_old_file(make_silo: Callable[..., SiloHost]) -> None:
    host = make_silo(quota_bytes="1M", quota_files="20")
    for i in range(100):
        (host.mount / "new").write_bytes(b"%d" % i * 5000)
        (host.mount / "new").rename(host.mount / "f")
    settled(host)
    assert used(host)[1] == 1


def test_the_count_is_exact_after_programs_and_after_a_restart(
    make_silo: Callable[..., SiloHost],
) -> None:
    host = make_silo(quota_bytes="1G", quota_files="100000")
    subprocess.run(
        ["cp", "-a", "/usr/share/doc/python3.11", "/usr/share/perl", host.mount], check=True
    )
    subprocess.run(["cp", "-al", host.mount / "perl", host.mount / "linked"], check=True)
    settled(host)
    subprocess.run(["rm", "-r", host.mount / "perl"], check=True)
    subprocess.run(
        ["rsync", "-a", "--delete", "/usr/share/bash-completion/", host.mount / "linked/"],
        check=True,
    )
    settled(host)
    before = used(host)
    assert before[1] > 100
    host.stop()
    host.start()
    assert used(host) == before


def test_removal_works_above_a_lowered_quota(make_silo: Callable[..., SiloHost]) -> None:
    host = make_silo()
    for i in range(30):
        (host.mount / str(i)).write_bytes(b"x" * 100_000)
    host.stop()
    host.start("--quota-bytes=1M", "--quota-files=16")
    assert os.statvfs(host.mount).f_bavail == 0
    assert errno_of((host.mount / "new").touch) == "EDQUOT"
    for i in range(25):
        (host.mount / str(i)).unlink()
    (host.mount / "new").write_text("fits")


def test_a_write_through_a_mapping_cannot_grow_the_file(make_silo: Callable[..., SiloHost]) -> None:
    import mmap

    host = make_silo(quota_bytes="1M")
    path = host.mount / "f"
    path.touch()
    os.truncate(path, MIB)
    with path.open("r+b") as f, mmap.mmap(f.fileno(), 0) as mapped:
        mapped[:] = b"m" * MIB
        mapped.flush()
    assert (host.tree / "f").read_bytes() == b"m" * MIB
    assert used(host)[0] == MIB
