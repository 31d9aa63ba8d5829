"""The rpcs of io.proto, translated to calls of tree, uploads and watches, which keep what each
promises.
"""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Callable, Iterator
from typing import Final

import grpc

from tambourinefs import files
from tambourinefs.bombshell import entries, paths, tree, uploads, watches
from tambourinefs.bombshell.edge import abort, caller, translated
from tambourinefs.bombshell.limits import CHUNK, PAGE, WATCH_DEPTH, Limits, UncommittedBytes
from tambourinefs.bombshell.paths import Parts
from tambourinefs.bombshell.volume import Volume
from tambourinefs.rpc import io_pb2
from tambourinefs.rpc.errors import show
from tambourinefs.rpc.io_pb2_grpc import BombshellServicer

log = logging.getLogger("bombshell")

_OPEN: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_NOFOLLOW


class Service(BombshellServicer):
    """Serves two volumes. `on_leftover`: called where an upload may leave its temporary file."""

    def __init__(
        self, silo: Volume, proc: Volume, limits: Limits, on_leftover: Callable[[], None]
    ) -> None:
        self._volumes = {io_pb2.VOLUME_SILO: silo, io_pb2.VOLUME_PROC: proc}
        self._limits = limits
        self._on_leftover = on_leftover
        self._uncommitted = UncommittedBytes(limits.uncommitted_bytes)

    def Write(  # noqa: N802
        self, request_iterator: Iterator[io_pb2.WriteRequest], context: grpc.ServicerContext
    ) -> io_pb2.WriteResponse:
        first = next(request_iterator, None)
        if first is None or first.WhichOneof("part") != "header":
            abort(context, OSError(errno.EPROTO, "the first message is not a header"))
        header = first.header
        volume = self._volume(header.volume, header.path, context)
        with translated(context, volume.name, header.path):
            volume.check_writable()
            with volume.root() as root, self._uncommitted.account() as account:
                upload = uploads.Upload(root, header, self._limits.file_bytes, self._on_leftover)
                entry = uploads.receive(
                    request_iterator, upload, account, volume.locks, context.is_active
                )
        _log("wrote", volume, header.path, context)
        return io_pb2.WriteResponse(entry=entry)

    def Read(  # noqa: N802
        self, request: io_pb2.ReadRequest, context: grpc.ServicerContext
    ) -> Iterator[io_pb2.ReadResponse]:
        volume = self._volume(request.volume, request.path, context)
        with translated(context, volume.name, request.path):
            parts = paths.split(request.path)
            with volume.root() as root:
                fd, found = _open_regular(root, parts)
            try:
                yield io_pb2.ReadResponse(entry=entries.entry(parts[-1], found))
                for chunk in _content(fd, request.offset, request.length, found.st_size):
                    yield io_pb2.ReadResponse(chunk=chunk)
            finally:
                files.close_quietly(fd)

    def List(  # noqa: N802
        self, request: io_pb2.ListRequest, context: grpc.ServicerContext
    ) -> Iterator[io_pb2.ListResponse]:
        volume = self._volume(request.volume, request.path, context)
        with translated(context, volume.name, request.path):
            parts = paths.split(request.path)
            with volume.root() as root, tree.directory(root, parts) as fd:
                page: list[io_pb2.Entry] = []
                for entry in _entries(fd):
                    page.append(entry)
                    if len(page) == PAGE:
                        yield io_pb2.ListResponse(entries=page)
                        page = []
                if page:
                    yield io_pb2.ListResponse(entries=page)

    def Stat(  # noqa: N802
        self, request: io_pb2.StatRequest, context: grpc.ServicerContext
    ) -> io_pb2.StatResponse:
        volume = self._volume(request.volume, request.path, context)
        with translated(context, volume.name, request.path):
            parts = paths.split(request.path)
            with volume.root() as root:
                return io_pb2.StatResponse(entry=_entry_at(root, parts))

    def Remove(  # noqa: N802
        self, request: io_pb2.RemoveRequest, context: grpc.ServicerContext
    ) -> io_pb2.RemoveResponse:
        volume = self._volume(request.volume, request.path, context)
        with translated(context, volume.name, request.path):
            volume.check_writable()
            parts = paths.split(request.path)
            if not parts:
                raise OSError(errno.EBUSY, "is the root of the volume")
            with (
                volume.root() as root,
                volume.locks.holding(parts, whole=request.recursive),
            ):
                _remove(root, parts, request)
        _log("removed", volume, request.path, context)
        return io_pb2.RemoveResponse()

    def MakeDirectory(  # noqa: N802
        self, request: io_pb2.MakeDirectoryRequest, context: grpc.ServicerContext
    ) -> io_pb2.MakeDirectoryResponse:
        volume = self._volume(request.volume, request.path, context)
        with translated(context, volume.name, request.path):
            volume.check_writable()
            parts = paths.split(request.path)
            with volume.root() as root:
                _make_directory(root, parts, request)
                entry = _entry_at(root, parts)
        _log("made directory", volume, request.path, context)
        return io_pb2.MakeDirectoryResponse(entry=entry)

    def Watch(  # noqa: N802
        self, request: io_pb2.WatchRequest, context: grpc.ServicerContext
    ) -> Iterator[io_pb2.WatchResponse]:
        volume = self._volume(request.volume, request.path, context)
        waker = watches.Waker()
        try:
            with translated(context, volume.name, request.path):
                if request.depth > WATCH_DEPTH:
                    raise OSError(errno.EINVAL, f"depth is more than {WATCH_DEPTH}")
                if not context.add_callback(waker.wake):
                    return
                for kind, path in watches.watch(
                    volume, request.path, request.depth, context.is_active, waker
                ):
                    yield io_pb2.WatchResponse(kind=kind, path=path)
        finally:
            waker.close()

    def _volume(
        self, number: io_pb2.Volume.ValueType, path: bytes, context: grpc.ServicerContext
    ) -> Volume:
        volume = self._volumes.get(number)
        if volume is None:
            abort(context, OSError(errno.EINVAL, "not a volume"), path=path)
        return volume


def _log(what: str, volume: Volume, path: bytes, context: grpc.ServicerContext) -> None:
    log.info("%s %s:/%s for %s", what, volume.name, show(path), caller(context))


def _open_regular(root: int, parts: Parts) -> tuple[int, os.stat_result]:
    """Open a regular file for reading. Checked before: opening a device has effects, opening a FIFO
    waits.
    """
    if not parts:
        raise OSError(errno.EISDIR, "is a directory")
    with tree.directory(root, parts[:-1]) as parent:
        found = tree.stat_at(parent, parts[-1])
        if found is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        entries.check_regular(found)
        fd = files.open_beneath(parent, parts[-1], _OPEN)
    try:
        found = os.stat(fd)
        entries.check_regular(found)  # replaced since the check
    except BaseException:
        files.close_quietly(fd)
        raise
    return fd, found


def _content(fd: int, offset: int, length: int, size: int) -> Iterator[bytes]:
    """The requested bytes; of a file at most its size, of a stream (size 0) all until its end."""
    end = size or (1 << 63) - 1
    if length:
        end = min(end, offset + length)
    while offset < end:
        chunk = _read_at(fd, min(CHUNK, end - offset), offset)
        if not chunk:
            return
        offset += len(chunk)
        yield chunk


def _read_at(fd: int, size: int, offset: int) -> bytes:
    try:
        return os.pread(fd, size, offset)
    except OSError as error:
        if error.errno != errno.ESPIPE:
            raise
    return os.read(fd, size)  # a stream has only its current position


def _entries(fd: int) -> Iterator[io_pb2.Entry]:
    with os.scandir(fd) as found:
        for item in found:
            name = os.fsencode(item.name)
            if paths.is_temporary(name):
                continue
            status = tree.stat_at(fd, name)
            if status is not None:  # gone since
                yield entries.entry(name, status)


def _entry_at(root: int, parts: Parts) -> io_pb2.Entry:
    if not parts:
        return entries.entry(b"", os.stat(root))
    with tree.directory(root, parts[:-1]) as parent:
        found = tree.stat_at(parent, parts[-1])
    if found is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
    return entries.entry(parts[-1], found)


def _remove(root: int, parts: Parts, request: io_pb2.RemoveRequest) -> None:
    with tree.directory(root, parts[:-1]) as parent:
        name = parts[-1]
        found = tree.stat_at(parent, name)
        if found is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        entries.check_match(request.if_match if request.HasField("if_match") else None, found)
        if not tree.is_directory(found):
            os.unlink(name, dir_fd=parent)
        elif request.recursive:
            tree.remove_all(parent, name)
        else:
            os.rmdir(name, dir_fd=parent)
        files.fsync_directory(parent)


def _make_directory(root: int, parts: Parts, request: io_pb2.MakeDirectoryRequest) -> None:
    if request.mode & ~0o777:
        raise OSError(errno.EINVAL, "mode has bits beyond 0777")
    mode = request.mode or tree.DIRECTORY_MODE
    if request.parents:
        made = tree.make_directories(root, parts[:-1])
        made += tree.make_directories(root, parts, mode)
    else:
        if not parts:
            raise FileExistsError(errno.EEXIST, "is the root of the volume")
        tree.make_directory(root, parts, mode)
    tree.persist(root, parts)
