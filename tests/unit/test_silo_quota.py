"""The quota's arithmetic: never over a limit by taking, exact whatever the order."""

from __future__ import annotations

import errno
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tambourinefs.silo.quota import BLOCK, Quota, charge_of


@pytest.mark.parametrize(
    ("size", "charge"),
    [(0, 0), (1, BLOCK), (BLOCK, BLOCK), (BLOCK + 1, 2 * BLOCK), (5 << 30, 5 << 30)],
)
def test_a_file_counts_in_whole_blocks(size: int, charge: int) -> None:
    assert charge_of(size) == charge


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 3)), max_size=60), st.integers(0, 200))
def test_what_is_refused_is_not_counted(wishes: list[tuple[int, int]], limit: int) -> None:
    quota = Quota(limit_bytes=limit * BLOCK, limit_files=30)
    held: list[tuple[int, int]] = []
    for blocks, files in wishes:
        fits = quota.bytes + blocks * BLOCK <= limit * BLOCK and quota.files + files <= 30
        if fits:
            quota.take(blocks * BLOCK, files)
            held.append((blocks, files))
        else:
            with pytest.raises(OSError, match="quota") as refused:
                quota.take(blocks * BLOCK, files)
            assert refused.value.errno == errno.EDQUOT
        assert quota.bytes == sum(b for b, _ in held) * BLOCK
        assert quota.files == sum(f for _, f in held)
    for blocks, files in held:
        quota.take(-blocks * BLOCK, -files)
    assert (quota.bytes, quota.files) == (0, 0)


def test_nothing_of_a_wish_is_taken_where_half_of_it_is_too_much() -> None:
    quota = Quota(limit_bytes=10 * BLOCK, limit_files=1, files=1)
    with pytest.raises(OSError, match="quota"):
        quota.take(BLOCK, 1)
    assert quota.bytes == 0


def test_above_a_lowered_limit_less_is_always_allowed() -> None:
    quota = Quota(limit_bytes=BLOCK, bytes=10 * BLOCK, files=5)
    quota.take(-BLOCK)
    assert quota.bytes == 9 * BLOCK
    with pytest.raises(OSError, match="quota"):
        quota.take(BLOCK)


def disk(free: int) -> os.statvfs_result:
    """1,000 blocks of 4 KiB, so many of them free; 100 inodes, 50 free."""
    return os.statvfs_result((4096, 4096, 1000, free, free, 100, 50, 50, 0, 255))


def test_df_is_the_quota_or_what_the_disk_still_has() -> None:
    quota = Quota(limit_bytes=100 * BLOCK, limit_files=20, bytes=40 * BLOCK, files=5)
    assert quota.shown(disk(500)) == {
        "f_bsize": BLOCK,
        "f_frsize": BLOCK,
        "f_blocks": 100,
        "f_bfree": 60,
        "f_bavail": 60,
        "f_files": 20,
        "f_ffree": 15,
        "f_favail": 15,
        "f_namemax": 255,
    }
    assert quota.shown(disk(10))["f_bavail"] == 10
    assert Quota().shown(disk(500))["f_blocks"] == 1000
