"""A small ext4 of its own that can lose power: what was not flushed is gone."""

from __future__ import annotations

import fcntl
import os
import shutil
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

_EXT4_IOC_SHUTDOWN: Final = 0x8004587D  # _IOR('X', 125, __u32), fs/ext4/ext4.h
_NOLOGFLUSH: Final = (
    2  # EXT4_GOING_FLAGS_NOLOGFLUSH: neither data nor journal reach the disk any more
)


class LoopDisk:
    """An image in `directory`, mounted on `directory`/disk."""

    def __init__(self, directory: Path, mebibytes: int = 64) -> None:
        for tool, package in (("mkfs.ext4", "e2fsprogs"), ("losetup", "mount")):
            assert shutil.which(tool), f"{tool} is missing: apt-get install {package}"
        self._image = directory / "disk.img"
        self.place = directory / "disk"
        self.place.mkdir()
        self._was_cut = False
        with self._image.open("wb") as image:
            image.truncate(mebibytes << 20)
        # No lazy initialization: it would write behind the test's back.
        extended = "lazy_itable_init=0,lazy_journal_init=0"
        subprocess.run(["mkfs.ext4", "-q", "-E", extended, self._image], check=True)

    def mount(self) -> Path:
        if self._was_cut:
            # A copy: a mount namespace made meanwhile keeps the dead file system, and mount(8) would take
            # its loop device, and so the dead one, again.
            after = self._image.with_name(f"{self._image.name}.after")
            self._image = Path(shutil.copyfile(self._image, after))
            self._was_cut = False
        # commit=300: nothing reaches the disk just because five seconds have passed.
        subprocess.run(["mount", "-o", "loop,commit=300", self._image, self.place], check=True)
        return self.place

    def remount(self, how: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{how}", self.place], check=True)

    def flush(self) -> None:
        """syncfs(2): what is here now reaches the disk, and nothing of other disks has to be waited for."""
        subprocess.run(["sync", "--file-system", self.place], check=True)

    def cut_power(self) -> None:
        """From now on nothing reaches the disk; everything that is asked of the file system fails."""
        fd = os.open(self.place, os.O_RDONLY)
        try:
            fcntl.ioctl(fd, _EXT4_IOC_SHUTDOWN, struct.pack("I", _NOLOGFLUSH))
        finally:
            os.close(fd)
        self._was_cut = True

    def unmount(self) -> None:
        subprocess.run(["umount", self.place], check=True)

    def close(self) -> None:
        if os.path.ismount(self.place):
            self.unmount()


@pytest.fixture
def loop_disk(disk_directory: Path) -> Iterator[LoopDisk]:
    """An ext4 of 64 MiB, gone after the test. Servers on it must have ended before (make_silo's are closed first)."""
    directory = disk_directory / "loop"
    directory.mkdir()
    disk = LoopDisk(directory)
    try:
        yield disk
    finally:
        disk.close()
