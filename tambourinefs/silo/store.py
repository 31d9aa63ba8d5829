"""The store directory: opened, checked, locked, counted. Layout: STORE/uuid and STORE/tree, which
is what the mount shows.

The tree is a directory of its own so that the store can be root's alone (0700) while the silo's
root is Bombshell's, and so that no request reaches the UUID.
"""

from __future__ import annotations

import fcntl
import logging
import os
import re
import stat
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tambourinefs import files
from tambourinefs.errors import HostError
from tambourinefs.silo import syscalls
from tambourinefs.silo.nodes import charge_of_stat

_log = logging.getLogger(__name__)

_ID_NAME: Final = b"uuid"
_TREE_NAME: Final = b"tree"
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_PROGRESS_FILES: Final = 10_000


@dataclass(frozen=True)
class Store:
    """An open store. `directory` holds the lock against a second server; `tree` is the served
    directory.
    """

    path: Path
    directory: int
    tree: int
    uuid: str
    id_name: bytes = _ID_NAME

    def close(self) -> None:
        os.close(self.tree)
        os.close(self.directory)


def open_store(path: Path, *, owner: tuple[int, int] | None) -> Store:
    """Open the store at `path`, made (0700) where it is missing; `owner` is user and group of the
    silo's root, which is then 0750 (None: unchanged; a new one belongs to the caller, 0755).

    Raises HostError: not a directory, on a file system without file handles, in use, new and
    read-only.
    """
    try:
        path.mkdir(mode=0o700, exist_ok=True)
        _persist(path.parent)
        directory = os.open(path, _DIRECTORY)
    except OSError as error:
        raise HostError(f"store {path}: {error.strerror}") from error
    try:
        _lock(path, directory)
        _check_handles(path, directory)
        store_uuid = _read_or_make_uuid(path, directory)
        tree = _open_tree(path, directory, owner)
    except OSError as error:
        os.close(directory)
        raise HostError(f"store {path}: {error.strerror}") from error
    except BaseException:
        os.close(directory)
        raise
    return Store(path, directory, tree, store_uuid)


def _persist(path: Path) -> None:
    """Make the names in a directory durable, the store's own among them."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        files.fsync_directory(fd)
    finally:
        os.close(fd)


def _lock(path: Path, directory: int) -> None:
    try:
        fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise HostError(
            f"store {path}: another tambourine silo serves it",
            hint="Stop it first: two servers on one store would hide each other's changes.",
        ) from None


def _check_handles(path: Path, directory: int) -> None:
    """Inode numbers must be stable and have a generation; overlayfs guarantees neither for a file's
    whole life.
    """
    hint = "Put the store on ext4, XFS or btrfs."
    if files.filesystem_type(directory) == files.OVERLAYFS_SUPER_MAGIC:
        raise HostError(f"store {path}: it is on overlayfs, whose inode numbers change", hint=hint)
    try:
        os.close(syscalls.open_handle(directory, syscalls.handle_of(directory), os.O_PATH))
    except PermissionError as error:
        raise HostError(
            f"store {path}: opening files by handle is not permitted",
            hint="The server needs CAP_DAC_READ_SEARCH (run it as root).",
        ) from error
    except OSError as error:
        raise HostError(
            f"store {path}: its file system has no file handles ({error.strerror})", hint=hint
        ) from error


def _read_or_make_uuid(path: Path, directory: int) -> str:
    try:
        fd = files.open_beneath(directory, _ID_NAME, os.O_RDONLY | os.O_NONBLOCK)
    except FileNotFoundError:
        made = str(uuid.uuid4())
        data = made.encode() + b"\n"
        files.replace_durably(directory, _ID_NAME, data, mode=0o444, uid=0, gid=0)
        _log.info("store %s is new: %s", path, made)
        return made
    try:
        text = os.read(fd, 100).decode("ascii", "replace").strip()
    finally:
        os.close(fd)
    if not re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", text):
        raise HostError(f"store {path}: the file uuid does not contain a UUID")
    return text


def _open_tree(path: Path, directory: int, owner: tuple[int, int] | None) -> int:
    try:
        tree = os.open(_TREE_NAME, _DIRECTORY, dir_fd=directory)
    except FileNotFoundError:
        os.mkdir(_TREE_NAME, 0o755 if owner is None else 0o700, dir_fd=directory)
        os.fsync(directory)
        tree = os.open(_TREE_NAME, _DIRECTORY, dir_fd=directory)
    st = os.fstat(tree)
    if st.st_dev != os.fstat(directory).st_dev:
        os.close(tree)
        raise HostError(f"store {path}: another file system is mounted on its tree")
    if owner is not None and ((st.st_uid, st.st_gid) != owner or stat.S_IMODE(st.st_mode) != 0o750):
        os.fchown(tree, *owner)
        os.fchmod(tree, 0o750)
    return tree


def count(tree: int, progress: Callable[[int], None]) -> tuple[int, int]:
    """Bytes (as the quota counts them) and files below the tree. `progress` is called with the
    number of files now and then.

    Directories are opened one at a time by their handles: neither depth nor number of them costs
    descriptors.
    """
    device = os.fstat(tree).st_dev
    waiting = [syscalls.handle_of(tree)]
    linked: set[int] = set()
    total = counted = 0
    while waiting:
        fd = syscalls.open_handle(tree, waiting.pop(), os.O_RDONLY | os.O_DIRECTORY)
        try:
            for name in os.listdir(fd):
                st = os.stat(name, dir_fd=fd, follow_symlinks=False)
                if st.st_dev != device:
                    continue
                if stat.S_ISDIR(st.st_mode):
                    waiting.append(_handle_of_directory(fd, name))
                elif st.st_nlink > 1:
                    if st.st_ino in linked:
                        continue
                    linked.add(st.st_ino)
                total += charge_of_stat(st)
                counted += 1
                if counted % _PROGRESS_FILES == 0:
                    progress(counted)
        finally:
            os.close(fd)
    return total, counted


def _handle_of_directory(parent: int, name: str) -> syscalls.Handle:
    fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    try:
        return syscalls.handle_of(fd)
    finally:
        os.close(fd)
