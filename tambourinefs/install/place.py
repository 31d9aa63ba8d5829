"""Puts single files into place, whole and durably, and only where they differ."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from tambourinefs.install.plan import Changes


def put(target: Path, data: bytes, changes: Changes, *, mode: int = 0o644) -> bool:
    """Make `target` hold `data`; False when it did already.

    A reader sees the old file or the new one, also after a power cut (write, fsync, rename, fsync of the directory).
    """
    if target.is_file() and not target.is_symlink() and target.read_bytes() == data:
        target.chmod(mode)
        return False
    changes.note()
    target.parent.mkdir(parents=True, exist_ok=True)
    new = target.with_name(f".{target.name}.new")
    try:
        with new.open("wb") as file:
            file.write(data)
            os.fchmod(file.fileno(), mode)
            file.flush()
            os.fsync(file.fileno())
        new.replace(target)
    except OSError:
        with suppress(OSError):  # a full disk: remove the partial file
            new.unlink()
        raise
    _sync(target.parent)
    return True


def link(target: Path, to: Path, changes: Changes) -> bool:
    """Make `target` a symbolic link; False when it is that one already."""
    if target.is_symlink() and target.readlink() == to:
        return False
    changes.note()
    target.parent.mkdir(parents=True, exist_ok=True)
    new = target.with_name(f".{target.name}.new")
    new.unlink(missing_ok=True)
    new.symlink_to(to)
    new.replace(target)
    _sync(target.parent)
    return True


def _sync(directory: Path) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
