"""The host's files: read, written and restored below one root. A power cut leaves the old or the new
file.

A path is an absolute, normalised path of the manifest. It is opened below the root without following
any link (openat2(2)), so no link leads out of what policy allowed. A file is replaced by rename:
other hard links keep the old one. All of it blocks: call it from a thread.
"""

from __future__ import annotations

import base64
import contextlib
import errno
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tambourinefs import files
from tambourinefs.agent.host.fileops import (
    TEMPORARY,
    Found,
    Place,
    Staged,
    distinct,
    fill,
    flush,
    kind_of,
    named,
    opened,
    owner_ids,
    restore_link,
    temporary_file,
    xattrs_of,
)
from tambourinefs.agent.host.payload import copy, digest_of
from tambourinefs.agent.state.record import Original
from tambourinefs.agent.state.store import Store
from tambourinefs.errors import HostError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tambourinefs.agent.host.content import Target

ORIGINAL_MAX: Final = 256 << 20  # bytes of an original that is kept


class HostFiles:
    """`root` is "/" but in tests."""

    def __init__(self, root: Path, store: Store) -> None:
        self._root = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self._store = store

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self._root)

    # -- reading

    def look(self, path: str, *, most: int | None = None) -> Found:
        """What is at a path; a file of more than `most` bytes without its digest.

        Raises HostError when a part of the path is a link or not a directory.
        """
        with self._at(path) as place:
            if place is None:
                return Found("absent")
            about = place.about
            if stat.S_ISLNK(about.st_mode):
                return Found("symlink")
            if not stat.S_ISREG(about.st_mode):
                return Found(kind_of(about.st_mode))
            with opened(place) as fd:
                digest = "" if most is not None and about.st_size > most else digest_of(fd)
                return Found("file", digest, about.st_mode & 0o7777, about.st_uid, about.st_gid)

    def capture(self, path: str) -> Original:
        """What is at a path; the store keeps a file's content. Raises HostError for what cannot be
        restored.
        """
        with self._at(path) as place:
            if place is None:
                return Original()
            about = place.about
            if stat.S_ISLNK(about.st_mode):
                target = os.readlink(place.name, dir_fd=place.directory)
                return Original("symlink", target=target, uid=about.st_uid, gid=about.st_gid)
            if not stat.S_ISREG(about.st_mode):
                raise HostError(f"{path} is {kind_of(about.st_mode)}: it is not replaced")
            if about.st_size > ORIGINAL_MAX:
                raise HostError(
                    f"{path} has {about.st_size} bytes, more than the {ORIGINAL_MAX} that can be"
                    " restored: it is not replaced"
                )
            with opened(place) as fd:
                return Original(
                    "file",
                    self._store.keep(fd),
                    mode=about.st_mode & 0o7777,
                    uid=about.st_uid,
                    gid=about.st_gid,
                    mtime_ns=about.st_mtime_ns,
                    xattrs=xattrs_of(fd),
                )

    def missing_directories(self, path: str) -> list[str]:
        """The directories that must be made for a path, outermost first. Raises HostError."""
        missing: list[str] = []
        parent = os.path.dirname(path)
        with named(path):
            while parent != "/":
                try:
                    os.close(files.open_beneath(self._root, parent[1:], os.O_PATH | os.O_DIRECTORY))
                    break
                except FileNotFoundError:
                    missing.insert(0, parent)
                    parent = os.path.dirname(parent)
        return missing

    # -- writing

    def write(self, wanted: Iterable[tuple[Target, int]]) -> None:
        """Write the targets; all are durable when it returns. With each comes a descriptor of its
        manifest's directory in the silo, for payload (-1: none).

        Raises HostError, PayloadMissing, OSError: then some may be written; they can be written again.
        """
        staged: list[Staged] = []
        try:
            for target, silo in wanted:
                if not self._is_as_wanted(target):
                    staged.append(self._stage(target, silo))
            self._publish(staged)
        finally:
            for item in staged:
                with contextlib.suppress(OSError):
                    os.unlink(item.temporary, dir_fd=item.directory)
                os.close(item.directory)

    def _is_as_wanted(self, target: Target) -> bool:
        found = self.look(target.path)
        uid, gid = owner_ids(target)
        return found == Found("file", target.digest, target.mode, uid, gid)

    def _stage(self, target: Target, silo: int) -> Staged:
        directory = self._make_parent(target.path)
        try:
            with named(target.path), temporary_file(directory) as (temporary, fd):
                fill(fd, target, silo)
                os.fchown(fd, *owner_ids(target))
                os.fchmod(fd, target.mode)  # after chown, which clears setuid and setgid
        except BaseException:
            os.close(directory)
            raise
        return Staged(directory, temporary, os.path.basename(target.path))

    def _publish(self, staged: list[Staged]) -> None:
        """Flush contents, rename, flush names: in this order no file is ever empty or partial."""
        flush(staged)
        for item in staged:
            os.rename(
                item.temporary, item.name, src_dir_fd=item.directory, dst_dir_fd=item.directory
            )
        for directory in distinct(staged):
            files.fsync_directory(directory)

    def _make_parent(self, path: str) -> int:
        """The directory of a path, made where it is missing (0755, root), and durable."""
        directory = os.dup(self._root)
        try:
            with named(path):
                for name in os.path.dirname(path)[1:].split("/"):
                    below = self._enter(directory, name) if name else os.dup(directory)
                    os.close(directory)
                    directory = below
        except BaseException:
            os.close(directory)
            raise
        return directory

    def _enter(self, directory: int, name: str) -> int:
        flags = os.O_RDONLY | os.O_DIRECTORY
        try:
            return files.open_beneath(directory, name, flags)
        except FileNotFoundError:
            pass
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, 0o755, dir_fd=directory)
        below = files.open_beneath(directory, name, flags)
        os.fchmod(below, 0o755)  # whatever the umask
        parent = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=directory)
        try:
            files.fsync_directory(parent)
        finally:
            os.close(parent)
        return below

    # -- restoring

    def restore(self, path: str, original: Original) -> None:
        """Restore what was at a path before the agent. Raises HostError, OSError."""
        with named(path), self._parent(path) as parent:
            if parent is None and original.kind == "absent":
                return
            directory = self._make_parent(path) if parent is None else parent
            name = os.path.basename(path)
            try:
                if original.kind == "absent":
                    with contextlib.suppress(FileNotFoundError):
                        os.unlink(name, dir_fd=directory)
                elif original.kind == "symlink":
                    restore_link(directory, name, original)
                else:
                    self._restore_file(directory, name, original)
                files.fsync_directory(directory)
            finally:
                if parent is None:
                    os.close(directory)

    def _restore_file(self, directory: int, name: str, original: Original) -> None:
        source = self._store.open_original(original.digest)
        try:
            with temporary_file(directory) as (temporary, fd):
                copy(source, fd)
                os.fchown(fd, original.uid, original.gid)
                os.fchmod(fd, original.mode)
                for key, value in original.xattrs.items():
                    os.setxattr(fd, key, base64.b64decode(value))
                os.utime(fd, ns=(original.mtime_ns, original.mtime_ns))
                os.fsync(fd)
                os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
        finally:
            os.close(source)

    def remove_directories(self, directories: Iterable[str]) -> list[str]:
        """Remove those that are empty, innermost first; returns those that are not."""
        kept = []
        for path in sorted(directories, reverse=True):
            try:
                with self._parent(path) as parent:
                    if parent is not None:
                        os.rmdir(os.path.basename(path), dir_fd=parent)
                        files.fsync_directory(parent)
            except FileNotFoundError:
                pass
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.ELOOP, errno.ENOTDIR, errno.EBUSY):
                    raise
                kept.append(path)
        return kept

    def clear_temporaries(self, paths: Iterable[str]) -> None:
        """Remove what a crash left beside these files."""
        for directory in {os.path.dirname(path) for path in paths}:
            with contextlib.suppress(OSError), self._parent(directory + "/x") as parent:
                for name in os.listdir(parent) if parent is not None else ():
                    if name.startswith(TEMPORARY):
                        os.unlink(name, dir_fd=parent)

    # -- opening

    @contextlib.contextmanager
    def _parent(self, path: str) -> Iterator[int | None]:
        """A descriptor of the directory of a path; None: it is not there."""
        try:
            directory = files.open_beneath(
                self._root, os.path.dirname(path)[1:], os.O_RDONLY | os.O_DIRECTORY
            )
        except FileNotFoundError:
            yield None
            return
        try:
            yield directory
        finally:
            os.close(directory)

    @contextlib.contextmanager
    def _at(self, path: str) -> Iterator[Place | None]:
        """A path as it is now; None: nothing is there."""
        with named(path), self._parent(path) as directory:
            name, about = os.path.basename(path), None
            if directory is not None:
                with contextlib.suppress(FileNotFoundError):
                    about = os.stat(name, dir_fd=directory, follow_symlinks=False)
            yield Place(directory, name, about) if directory is not None and about else None
