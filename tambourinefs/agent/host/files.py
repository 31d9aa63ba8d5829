"""The host's files: looked at, written and put back below one root; no link leads elsewhere, a power cut leaves old or new.

A path is an absolute, normalised path of the manifest; it is opened below the root without following any link (openat2(2)),
so neither a link in a directory nor one at its end leads out of what policy looked at. A file is replaced by rename: what
other hard links name stays. All of it blocks: call it from a thread.
"""

from __future__ import annotations

import base64
import contextlib
import errno
import grp
import os
import pwd
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tambourinefs import files
from tambourinefs.agent.host.payload import PayloadMissing, copy, digest_of, open_payload
from tambourinefs.agent.state.record import Original
from tambourinefs.agent.state.store import FSYNC_EACH, Store, syncfs
from tambourinefs.errors import HostError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tambourinefs.agent.host.content import Target

TEMPORARY: Final = ".tambourine-agent-"
ORIGINAL_MAX: Final = 256 << 20  # bytes of a file that is kept to be put back
# Not ours to keep: the kernel makes it from the policy when the file is made again.
_XATTRS_LEFT_OUT: Final = frozenset({"security.selinux", "security.ima", "security.evm"})


@dataclass(frozen=True, slots=True)
class Found:
    """What is at a path. `kind`: absent, file, symlink, or what else it is in words."""

    kind: str
    digest: str = ""
    mode: int = 0
    uid: int = 0
    gid: int = 0


@dataclass(slots=True)
class _Staged:
    directory: int
    temporary: str
    name: str


class HostFiles:
    """`root` is "/" but in tests."""

    def __init__(self, root: Path, store: Store) -> None:
        self._root = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self._store = store

    def close(self) -> None:
        """Give the descriptor back."""
        os.close(self._root)

    # -- looking

    def look(self, path: str, *, most: int | None = None) -> Found:
        """What is there; a file of more than `most` bytes without its digest.

        Raises HostError when a part of the path is a link or no directory.
        """
        with _named(path), self._parent(path) as place:
            if place is None:
                return Found("absent")
            directory, name = place
            try:
                about = os.stat(name, dir_fd=directory, follow_symlinks=False)
            except FileNotFoundError:
                return Found("absent")
            if stat.S_ISLNK(about.st_mode):
                return Found("symlink")
            if not stat.S_ISREG(about.st_mode):
                return Found(_kind(about.st_mode))
            with self._opened(directory, name) as fd:
                digest = "" if most is not None and about.st_size > most else digest_of(fd)
                return Found("file", digest, about.st_mode & 0o7777, about.st_uid, about.st_gid)

    def capture(self, path: str) -> Original:
        """What is there, with a file's content kept in the store. Raises HostError for what cannot be put back."""
        with _named(path), self._parent(path) as place:
            if place is None:
                return Original()
            directory, name = place
            try:
                about = os.stat(name, dir_fd=directory, follow_symlinks=False)
            except FileNotFoundError:
                return Original()
            if stat.S_ISLNK(about.st_mode):
                target = os.readlink(name, dir_fd=directory)
                return Original("symlink", target=target, uid=about.st_uid, gid=about.st_gid)
            if not stat.S_ISREG(about.st_mode):
                raise HostError(f"{path} is {_kind(about.st_mode)}: it is not replaced")
            if about.st_size > ORIGINAL_MAX:
                size = f"has {about.st_size} bytes, more than the {ORIGINAL_MAX} that are kept to be put back"
                raise HostError(f"{path} {size}: it is not replaced")
            with self._opened(directory, name) as fd:
                return Original(
                    "file",
                    self._store.keep(fd),
                    mode=about.st_mode & 0o7777,
                    uid=about.st_uid,
                    gid=about.st_gid,
                    mtime_ns=about.st_mtime_ns,
                    xattrs=_xattrs(fd),
                )

    def missing_directories(self, path: str) -> list[str]:
        """The directories that have to be made for it, outermost first. Raises HostError."""
        missing: list[str] = []
        parent = os.path.dirname(path)
        with _named(path):
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
        """Put the targets there, all durable when it returns. With each comes the descriptor of the directory of its
        manifest in the silo, for payload (-1 where there is none).

        Raises HostError, PayloadMissing, OSError: then none of them is in place, or some; they can be written again.
        """
        staged: list[_Staged] = []
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

    def _stage(self, target: Target, silo: int) -> _Staged:
        directory = self._make_parent(target.path)
        temporary = files.temporary_name(TEMPORARY)
        try:
            with _named(target.path):
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
                fd = os.open(temporary, flags, 0o600, dir_fd=directory)
                try:
                    _fill(fd, target, silo)
                    os.fchown(fd, *owner_ids(target))
                    os.fchmod(fd, target.mode)  # after chown, which clears setuid and setgid
                finally:
                    os.close(fd)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary, dir_fd=directory)
            os.close(directory)
            raise
        return _Staged(directory, temporary, os.path.basename(target.path))

    def _publish(self, staged: list[_Staged]) -> None:
        """Flush contents, then rename, then flush names: in this order nothing empty or half is ever seen."""
        _flush(staged)
        for item in staged:
            os.rename(
                item.temporary, item.name, src_dir_fd=item.directory, dst_dir_fd=item.directory
            )
        for directory in _distinct(staged):
            files.fsync_directory(directory)

    def _make_parent(self, path: str) -> int:
        """The directory of `path`, made where it is missing (0755, root), and durable."""
        directory = os.dup(self._root)
        try:
            with _named(path):
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

    # -- putting back

    def restore(self, path: str, original: Original) -> None:
        """Put back what stood there before us. Raises HostError, OSError."""
        with _named(path), self._parent(path) as place:
            if place is None and original.kind == "absent":
                return
            directory, name = place or (self._make_parent(path), os.path.basename(path))
            try:
                if original.kind == "absent":
                    with contextlib.suppress(FileNotFoundError):
                        os.unlink(name, dir_fd=directory)
                else:
                    self._put_back(directory, name, original)
                files.fsync_directory(directory)
            finally:
                if place is None:
                    os.close(directory)

    def _put_back(self, directory: int, name: str, original: Original) -> None:
        temporary = files.temporary_name(TEMPORARY)
        try:
            self._make(directory, temporary, original)
            os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
        except BaseException:  # it is tried again, for ever: none may stay each time
            with contextlib.suppress(OSError):
                os.unlink(temporary, dir_fd=directory)
            raise

    def _make(self, directory: int, temporary: str, original: Original) -> None:
        if original.kind == "symlink":
            os.symlink(original.target, temporary, dir_fd=directory)
            os.chown(temporary, original.uid, original.gid, dir_fd=directory, follow_symlinks=False)
        else:
            source = self._store.open_original(original.digest)
            try:
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
                fd = os.open(temporary, flags, 0o600, dir_fd=directory)
                try:
                    copy(source, fd)
                    os.fchown(fd, original.uid, original.gid)
                    os.fchmod(fd, original.mode)
                    for key, value in original.xattrs.items():
                        os.setxattr(fd, key, base64.b64decode(value))
                    os.utime(fd, ns=(original.mtime_ns, original.mtime_ns))
                    os.fsync(fd)
                finally:
                    os.close(fd)
            finally:
                os.close(source)

    def remove_directories(self, directories: Iterable[str]) -> list[str]:
        """Remove those that are empty, innermost first; returns those that are not."""
        kept = []
        for path in sorted(directories, reverse=True):
            try:
                with self._parent(path) as place:
                    if place is not None:
                        os.rmdir(place[1], dir_fd=place[0])
                        files.fsync_directory(place[0])
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
            with contextlib.suppress(OSError), self._parent(directory + "/x") as place:
                if place is None:
                    continue
                for name in os.listdir(place[0]):
                    if name.startswith(TEMPORARY):
                        os.unlink(name, dir_fd=place[0])

    # -- opening

    @contextlib.contextmanager
    def _parent(self, path: str) -> Iterator[tuple[int, str] | None]:
        try:
            directory = files.open_beneath(
                self._root, os.path.dirname(path)[1:], os.O_RDONLY | os.O_DIRECTORY
            )
        except FileNotFoundError:
            yield None
            return
        try:
            yield directory, os.path.basename(path)
        finally:
            os.close(directory)

    @contextlib.contextmanager
    def _opened(self, directory: int, name: str) -> Iterator[int]:
        # O_NONBLOCK: a FIFO that took the file's place must not hold us.
        fd = files.open_beneath(directory, name, os.O_RDONLY | os.O_NONBLOCK)
        try:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise OSError(errno.EINVAL, "is not a regular file any more", name)
            yield fd
        finally:
            os.close(fd)


def owner_ids(target: Target) -> tuple[int, int]:
    """(uid, gid) of a target's owner and group. Raises HostError when this host has no such user or group."""
    try:
        uid = int(target.owner) if target.owner.isdigit() else pwd.getpwnam(target.owner).pw_uid
    except KeyError:
        raise HostError(f"{target.path}: this host has no user {target.owner}") from None
    try:
        gid = int(target.group) if target.group.isdigit() else grp.getgrnam(target.group).gr_gid
    except KeyError:
        raise HostError(f"{target.path}: this host has no group {target.group}") from None
    return uid, gid


def _fill(fd: int, target: Target, silo: int) -> None:
    if target.data is not None:
        files.write_all(fd, target.data)
        return
    source = open_payload(silo, target.payload)
    try:
        if copy(source, fd) != target.digest:
            raise PayloadMissing(f"payload {target.payload} changed while it was read")
    finally:
        os.close(source)


def _xattrs(fd: int) -> dict[str, str]:
    try:
        names = [name for name in os.listxattr(fd) if name not in _XATTRS_LEFT_OUT]
    except OSError as error:
        if error.errno == errno.ENOTSUP:
            return {}
        raise
    return {name: base64.b64encode(os.getxattr(fd, name)).decode() for name in names}


def _flush(staged: list[_Staged]) -> None:
    if len(staged) > FSYNC_EACH:
        devices = {os.fstat(item.directory).st_dev: item.directory for item in staged}
        for directory in devices.values():
            syncfs(directory)
        return
    for item in staged:
        fd = os.open(item.temporary, os.O_RDONLY | os.O_CLOEXEC, dir_fd=item.directory)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def _distinct(staged: list[_Staged]) -> list[int]:
    """One descriptor for each directory."""
    found: dict[tuple[int, int], int] = {}
    for item in staged:
        about = os.fstat(item.directory)
        found.setdefault((about.st_dev, about.st_ino), item.directory)
    return list(found.values())


def _kind(mode: int) -> str:
    words = {
        stat.S_IFDIR: "a directory", stat.S_IFIFO: "a FIFO", stat.S_IFSOCK: "a socket",
        stat.S_IFCHR: "a device", stat.S_IFBLK: "a device",
    }  # fmt: skip
    return words.get(stat.S_IFMT(mode), "no regular file")


@contextlib.contextmanager
def _named(path: str) -> Iterator[None]:
    """OSError becomes HostError with the path and what is wrong with it."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EXDEV):
            raise HostError(
                f"{path}: a part of it is a symbolic link, which is not followed"
            ) from error
        raise HostError(f"{path}: {error.strerror or error}") from error
