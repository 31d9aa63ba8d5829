"""A host's disk: a sparse file with an ext4 on a loop device, which can lose its power."""

from __future__ import annotations

import fcntl
import os
import struct
from pathlib import Path
from typing import Final

from tests.lab.tools import run

SIZE: Final = "8G"
# _IOR('X', 125, __u32), and the flag that throws away what the journal has not got yet (fs/ext4/ext4.h).
EXT4_IOC_SHUTDOWN: Final = 0x8004587D
EXT4_GOING_FLAGS_NOLOGFLUSH: Final = 2


def make(image: Path, content: Path) -> None:
    """Make the file and a file system with a copy of a directory in it; nothing is written that need not be."""
    run("truncate", "-s", SIZE, str(image))
    run(
        "mkfs.ext4", "-q", "-F", "-m", "0", "-J", "size=32", "-d", str(content),
        "-E", "nodiscard,lazy_itable_init=1,lazy_journal_init=1", str(image),
    )  # fmt: skip


def make_scratch(image: Path) -> None:
    """Make the file and an empty file system that no power cut meets: it needs no journal."""
    run("truncate", "-s", SIZE, str(image))
    run(
        "mkfs.ext4", "-q", "-F", "-m", "0", "-O", "^has_journal", "-E", "nodiscard,lazy_itable_init=1", str(image),
    )  # fmt: skip


def attach(image: Path, mountpoint: Path) -> None:
    """Mount it. `-o loop` sets autoclear: the loop device goes with the last mount.

    Tables of inodes that nothing uses are not written in the background either, as a kernel would that keeps the disk.
    """
    mountpoint.mkdir(exist_ok=True)
    run("mount", "-o", "loop,noatime,noinit_itable", str(image), str(mountpoint))


def cut_power(mountpoint: Path) -> None:
    """From now on nothing reaches the disk and every access fails with EIO, as on a machine that lost its power."""
    fd = os.open(mountpoint, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.ioctl(fd, EXT4_IOC_SHUTDOWN, struct.pack("I", EXT4_GOING_FLAGS_NOLOGFLUSH))
    finally:
        os.close(fd)


def attached(image: Path) -> bool:
    """Whether a loop device still has the file: the last mount is gone, its device a moment later."""
    for backing in Path("/sys/block").glob("loop*/loop/backing_file"):
        try:
            if backing.read_text().strip() == str(image):
                return True
        except FileNotFoundError:  # detached meanwhile
            continue
    return False
