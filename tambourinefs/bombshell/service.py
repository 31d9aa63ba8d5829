"""The rpcs of io.proto. A border that only translates: what each promises is kept by tree, uploads and watches."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

import grpc

from tambourinefs import files
from tambourinefs.bombshell import entries, names, tree, uploads, watches
from tambourinefs.bombshell.border import abort, caller, translated
from tambourinefs.bombshell.descriptors import close
from tambourinefs.bombshell.limits import CHUNK, PAGE, WATCH_DEPTH, Ledger, Limits
from tambourinefs.bombshell.locks import PathLocks
from tambourinefs.bombshell.volume import Volume
from tambourinefs.rpc import io_pb2
from tambourinefs.rpc.errors import show
from tambourinefs.rpc.io_pb2_grpc import BombshellServicer

log = logging.getLogger("bombshell")

_OPEN: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_NOFOLLOW


@dataclass
class Shelf:
    """A volume and the locks on its paths."""

    volume: Volume
    locks: PathLocks = field(default_factory=PathLocks)


class Service(BombshellServicer):
    """Serves the volumes given, by their number in io.proto. `left`: an upload may have left its temporary file."""

    def __init__(
        self, silo: Volume, proc: Volume, limits: Limits, left: Callable[[], None]
    ) -> None:
        self._shelves = {io_pb2.VOLUME_SILO: Shelf(silo), io_pb2.VOLUME_PROC: Shelf(proc)}
        self._limits = limits
        self._left = left
        self._ledger = Ledger(limits.uncommitted_bytes)

    def Write(  # noqa: N802
        self, request_iterator: Iterator[io_pb2.WriteRequest], context: grpc.ServicerContext
    ) -> io_pb2.WriteResponse:
        first = next(request_iterator, None)
        if first is None or first.WhichOneof("part") != "header":
            abort(context, OSError(errno.EPROTO, "the first message is not a header"))
        header = first.header
        shelf = self._shelf(header.volume, header.path, context)
        with translated(context, shelf.volume.name, header.path):
            shelf.volume.check_writable()
            with shelf.volume.root() as root, self._ledger.account() as account:
                upload = uploads.Upload(root, header, self._limits.file_bytes, self._left)
                entry = uploads.receive(
                    request_iterator, upload, account, shelf.locks, context.is_active
                )
        _log("wrote", shelf, header.path, context)
        return io_pb2.WriteResponse(entry=entry)

    def Read(  # noqa: N802
        self, request: io_pb2.ReadRequest, context: grpc.ServicerContext
    ) -> Iterator[io_pb2.ReadResponse]:
        shelf = self._shelf(request.volume, request.path, context)
        with translated(context, shelf.volume.name, request.path):
            parts = names.split(request.path)
            with shelf.volume.root() as root:
                fd, found = _open_regular(root, parts)
            try:
                yield io_pb2.ReadResponse(entry=entries.entry(parts[-1], found))
                for chunk in _content(fd, request.offset, request.length, found.st_size):
                    yield io_pb2.ReadResponse(chunk=chunk)
            finally:
                close(fd)

    def List(  # noqa: N802
        self, request: io_pb2.ListRequest, context: grpc.ServicerContext
    ) -> Iterator[io_pb2.ListResponse]:
        shelf = self._shelf(request.volume, request.path, context)
        with translated(context, shelf.volume.name, request.path):
            parts = names.split(request.path)
            with shelf.volume.root() as root, tree.directory(root, parts) as fd:
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
        shelf = self._shelf(request.volume, request.path, context)
        with translated(context, shelf.volume.name, request.path):
            parts = names.split(request.path)
            with shelf.volume.root() as root:
                return io_pb2.StatResponse(entry=_entry_at(root, parts))

    def Remove(  # noqa: N802
        self, request: io_pb2.RemoveRequest, context: grpc.ServicerContext
    ) -> io_pb2.RemoveResponse:
        shelf = self._shelf(request.volume, request.path, context)
        with translated(context, shelf.volume.name, request.path):
            shelf.volume.check_writable()
            parts = names.split(request.path)
            if not parts:
                raise OSError(errno.EBUSY, "is the root of the volume")
            with (
                shelf.volume.root() as root,
                shelf.locks.holding(parts, whole=request.recursive),
            ):
                _remove(root, parts, request)
        _log("removed", shelf, request.path, context)
        return io_pb2.RemoveResponse()

    def MakeDirectory(  # noqa: N802
        self, request: io_pb2.MakeDirectoryRequest, context: grpc.ServicerContext
    ) -> io_pb2.MakeDirectoryResponse:
        shelf = self._shelf(request.volume, request.path, context)
        with translated(context, shelf.volume.name, request.path):
            shelf.volume.check_writable()
            parts = names.split(request.path)
            with shelf.volume.root() as root:
                _make_directory(root, parts, request)
                entry = _entry_at(root, parts)
        _log("made directory", shelf, request.path, context)
        return io_pb2.MakeDirectoryResponse(entry=entry)

    def Watch(  # noqa: N802
        self, request: io_pb2.WatchRequest, context: grpc.ServicerContext
    ) -> Iterator[io_pb2.WatchResponse]:
        shelf = self._shelf(request.volume, request.path, context)
        bell = watches.Bell()
        try:
            with translated(context, shelf.volume.name, request.path):
                if request.depth > WATCH_DEPTH:
                    raise OSError(errno.EINVAL, f"depth is more than {WATCH_DEPTH}")
                if not context.add_callback(bell.ring):
                    return
                for kind, path in watches.watch(
                    shelf.volume, request.path, request.depth, context.is_active, bell
                ):
                    yield io_pb2.WatchResponse(kind=kind, path=path)
        finally:
            bell.close()

    def _shelf(
        self, volume: io_pb2.Volume.ValueType, path: bytes, context: grpc.ServicerContext
    ) -> Shelf:
        shelf = self._shelves.get(volume)
        if shelf is None:
            abort(context, OSError(errno.EINVAL, "there is no such volume"), path=path)
        return shelf


def _log(what: str, shelf: Shelf, path: bytes, context: grpc.ServicerContext) -> None:
    log.info("%s %s:/%s for %s", what, shelf.volume.name, show(path), caller(context))


def _open_regular(root: int, parts: tree.Parts) -> tuple[int, os.stat_result]:
    """Open a regular file for reading. Looked at before: opening a device does something, opening a FIFO waits."""
    if not parts:
        raise OSError(errno.EISDIR, "is a directory")
    with tree.directory(root, parts[:-1]) as parent:
        found = tree.look(parent, parts[-1])
        if found is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        entries.check_regular(found)
        fd = files.open_beneath(parent, parts[-1], _OPEN)
    try:
        found = os.stat(fd)
        entries.check_regular(found)  # replaced since we looked
    except BaseException:
        close(fd)
        raise
    return fd, found


def _content(fd: int, offset: int, length: int, size: int) -> Iterator[bytes]:
    """The bytes asked for; of a file with a size no more than that, of a stream (size 0) all until its end."""
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
    return os.read(fd, size)  # a stream, which is where it is


def _entries(fd: int) -> Iterator[io_pb2.Entry]:
    with os.scandir(fd) as found:
        for item in found:
            name = os.fsencode(item.name)
            if names.is_temporary(name):
                continue
            status = tree.look(fd, name)
            if status is not None:  # gone since
                yield entries.entry(name, status)


def _entry_at(root: int, parts: tree.Parts) -> io_pb2.Entry:
    if not parts:
        return entries.entry(b"", os.stat(root))
    with tree.directory(root, parts[:-1]) as parent:
        found = tree.look(parent, parts[-1])
    if found is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
    return entries.entry(parts[-1], found)


def _remove(root: int, parts: tree.Parts, request: io_pb2.RemoveRequest) -> None:
    with tree.directory(root, parts[:-1]) as parent:
        name = parts[-1]
        found = tree.look(parent, name)
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


def _make_directory(root: int, parts: tree.Parts, request: io_pb2.MakeDirectoryRequest) -> None:
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
