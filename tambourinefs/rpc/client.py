"""A client of Bombshell: synchronous, typed, raising TambourineErrors.

    with Client(socket, ca, cert, key) as bombshell:
        entry, data = bombshell.read("proc", "local/hello/status.json")
        bombshell.write("silo", "local/hello/tambourine.json", data, if_match=entry.etag, parents=True)

gRPC takes 0.1 s to import, so it is imported at the first call. Methods raise errors of
tambourinefs.errors only.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, Self

from tambourinefs.errors import Unreachable
from tambourinefs.rpc import reach
from tambourinefs.rpc.errors import from_rpc_error, is_answer

if TYPE_CHECKING:
    import grpc
    from grpc import _CallIterator

    from tambourinefs.model.config import Config
    from tambourinefs.rpc import io_pb2
    from tambourinefs.rpc.io_pb2_grpc import BombshellStub

Volume = Literal["silo", "proc"]
EntryKind = Literal["file", "directory", "symlink", "other"]
WatchKind = Literal["resync", "changed", "removed"]

SERVER_NAME: Final = "bombshell.tambourine"  # a SAN of the server's certificate
CHUNK: Final = 256 * 1024  # bytes; io.proto's bound
DEFAULT_TIMEOUT: Final = 30.0  # seconds

_ENTRY_KINDS: Final[dict[int, EntryKind]] = {1: "file", 2: "directory", 3: "symlink"}
_WATCH_KINDS: Final[dict[int, WatchKind]] = {2: "changed", 3: "removed"}  # any other: "resync"


class Entry(NamedTuple):
    """One file, directory or link, as Stat, List, Read and Write return it."""

    name: bytes  # the last component; b"" for the root
    kind: EntryKind
    size: int  # bytes
    mode: int  # permission bits
    mtime_ns: int  # since 1970-01-01 UTC
    etag: str  # opaque; regular files only
    uid: int
    gid: int


class Client:
    """A connection that is made at the first call and again after a loss. Safe to use from several
    threads.

    `timeout` is the deadline of one call in seconds (of a watch: none). `ca`, `cert` and `key` are
    PEM files; they are read again when they change.
    """

    def __init__(
        self,
        socket: str | os.PathLike[str],
        ca: str | os.PathLike[str],
        cert: str | os.PathLike[str],
        key: str | os.PathLike[str],
        timeout: float = DEFAULT_TIMEOUT,
    ) -> None:
        self.socket = os.fspath(socket)
        self.timeout = timeout
        self._files = (Path(ca), Path(cert), Path(key))
        self._lock = threading.Lock()
        self._channel: grpc.Channel | None = None
        self._methods: BombshellStub | None = None
        self._loaded: tuple[tuple[int, int], ...] = ()

    @classmethod
    def from_config(cls, config: Config, *, timeout: float = DEFAULT_TIMEOUT) -> Self:
        """The client that the host's configuration describes."""
        pki = Path(config.bombshell.pki)
        return cls(
            config.bombshell.socket,
            pki / "ca.crt",
            pki / "client.crt",
            pki / "client.key",
            timeout,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        # An interrupt may have come while grpc held a lock, which is never released then: close()
        # would wait for ever.
        if kind is not KeyboardInterrupt:
            self.close()

    def close(self) -> None:
        """End the connection and every call on it."""
        self._reconnect()

    def stat(self, volume: Volume, path: str | bytes) -> Entry:
        """Describe one file, directory or link (the link itself).

        Raises NotFound, Unreachable …
        """
        from tambourinefs.rpc import io_pb2

        request = io_pb2.StatRequest(volume=_volume(volume), path=os.fsencode(path))
        with self._errors():
            return _entry(self._stub().Stat(request, timeout=self.timeout).entry)

    def list(self, volume: Volume, path: str | bytes) -> list[Entry]:
        """The entries of a directory, in the volume's order.

        Raises NotFound, HostError (not a directory), Unreachable …
        """
        from tambourinefs.rpc import io_pb2

        request = io_pb2.ListRequest(volume=_volume(volume), path=os.fsencode(path))
        with self._errors():
            pages = self._stub().List(request, timeout=self.timeout)
            return [_entry(entry) for page in pages for entry in page.entries]

    def read(self, volume: Volume, path: str | bytes) -> tuple[Entry, bytes]:
        """One whole regular file; the entry and the content are of the same version.

        Raises NotFound, HostError (not a regular file), Unreachable …
        """
        entry, chunks = self.read_stream(volume, path)
        return entry, b"".join(chunks)

    def read_stream(
        self, volume: Volume, path: str | bytes, *, offset: int = 0, length: int = 0
    ) -> tuple[Entry, Iterator[bytes]]:
        """The entry, and the content from `offset` on as it arrives (`length` 0: to the end).

        Close the iterator to stop early. Raises as `read`, also while it is iterated.
        """
        from tambourinefs.rpc import io_pb2

        request = io_pb2.ReadRequest(
            volume=_volume(volume), path=os.fsencode(path), offset=offset, length=length
        )
        with self._errors():
            call = self._stub().Read(request, timeout=self.timeout)
            return _entry(next(call).entry), self._chunks(call)

    def write(
        self,
        volume: Volume,
        path: str | bytes,
        data: bytes | Iterable[bytes],
        *,
        mode: int = 0,
        if_match: str | None = None,
        if_absent: bool = False,
        parents: bool = False,
    ) -> Entry:
        """Write one file whole; when this returns it survives a loss of power. `mode` 0 means 0640.

        Raises Conflict (`if_match`), AlreadyExists (`if_absent`), NotFound (a parent, without
        `parents`), OutOfSpace, RefusedByPolicy (the volume refuses), Unreachable (then Stat tells
        whether it was written) …
        """
        from tambourinefs.rpc import io_pb2

        header = io_pb2.WriteHeader(
            volume=_volume(volume),
            path=os.fsencode(path),
            mode=mode,
            if_match=if_match,
            if_absent=if_absent,
            parents=parents,
            size=len(data) if isinstance(data, bytes) else None,
        )
        with self._errors():
            return _entry(self._stub().Write(_upload(header, data), timeout=self.timeout).entry)

    def remove(
        self,
        volume: Volume,
        path: str | bytes,
        *,
        if_match: str | None = None,
        recursive: bool = False,
    ) -> None:
        """Remove one file, link or empty directory (`recursive`: all in it); durable when this
        returns.

        Raises NotFound, Conflict (`if_match`, or not empty), Unreachable …
        """
        from tambourinefs.rpc import io_pb2

        request = io_pb2.RemoveRequest(
            volume=_volume(volume),
            path=os.fsencode(path),
            if_match=if_match,
            recursive=recursive,
        )
        with self._errors():
            self._stub().Remove(request, timeout=self.timeout)

    def make_directory(
        self, volume: Volume, path: str | bytes, *, mode: int = 0, parents: bool = False
    ) -> Entry:
        """Make one directory (`parents`: those above it too, and it may exist); durable when this
        returns.

        `mode` 0 means 0750.

        Raises AlreadyExists, NotFound (a parent), Unreachable …
        """
        from tambourinefs.rpc import io_pb2

        request = io_pb2.MakeDirectoryRequest(
            volume=_volume(volume), path=os.fsencode(path), mode=mode, parents=parents
        )
        with self._errors():
            return _entry(self._stub().MakeDirectory(request, timeout=self.timeout).entry)

    def watch(
        self,
        volume: Volume,
        path: str | bytes = "",
        depth: int = 0,
        *,
        timeout: float | None = None,
    ) -> Watching:
        """Changes of a directory or file; the first event is ("resync", …), once the watch is in
        place. See Watching.
        """
        from tambourinefs.rpc import io_pb2

        request = io_pb2.WatchRequest(volume=_volume(volume), path=os.fsencode(path), depth=depth)
        with self._errors():
            return Watching(self._stub().Watch(request, timeout=timeout), self._errors)

    def _chunks(self, call: _CallIterator[io_pb2.ReadResponse]) -> Iterator[bytes]:
        try:
            with self._errors():
                for part in call:
                    yield part.chunk
        finally:
            call.cancel()

    def _stub(self) -> BombshellStub:
        """The stub on the channel, or on a new one when a certificate file has changed. Calls on
        the old one continue.

        Made under the lock under which the channel is closed: grpcio does not check whether another
        thread has closed the channel in which it looks up a method, and the process ends with
        SIGSEGV.
        """
        from tambourinefs.rpc.io_pb2_grpc import BombshellStub

        reach.quiet()
        with self._lock:
            now = reach.stamps(self._files)
            if self._channel is None or self._methods is None or now != self._loaded:
                self._channel = reach.connect(self.socket, *self._files, server_name=SERVER_NAME)
                self._methods = BombshellStub(self._channel)
                self._loaded = now
            return self._methods

    def _reconnect(self) -> None:
        """Use a new channel at the next call: gRPC repeats a failure that is over for as long as it
        backs off.
        """
        with self._lock:
            channel, self._channel, self._methods = self._channel, None, None
            if channel is not None:
                channel.close()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        import grpc

        try:
            yield
        except grpc.RpcError as error:
            translated = from_rpc_error(error)
            if not is_answer(error):
                self._reconnect()
            if isinstance(translated, Unreachable):
                raise reach.explain(self.socket, translated) from error
            raise translated from error
        except ValueError as error:
            # grpcio's two wordings: "Cannot invoke RPC on closed channel!", "Cannot invoke RPC:
            # Channel closed!"
            if "channel" in str(error).lower() and "closed" in str(error):
                raise Unreachable("the connection was closed while this call began") from error
            raise


class Watching:
    """An iterator of (kind, path): "resync" (read all again), "changed" or "removed"; path is
    relative to the volume's root.

    It blocks until a change. `close()`, from any thread, ends it without an error; so does the
    timeout of watch(). Raises Unreachable when the server is gone, NotFound when the watched path
    is removed: watch again.
    """

    def __init__(
        self,
        call: _CallIterator[io_pb2.WatchResponse],
        errors: Callable[[], contextlib.AbstractContextManager[None]],
    ) -> None:
        self._call = call
        self._errors = errors
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the watch."""
        self._closed = True
        self._call.cancel()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> tuple[WatchKind, bytes]:
        import grpc

        try:
            with self._errors():
                response = next(self._call)
        except Unreachable:
            if self._closed or self._call.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                raise StopIteration from None
            raise
        return _WATCH_KINDS.get(response.kind, "resync"), response.path


def _upload(
    header: io_pb2.WriteHeader, data: bytes | Iterable[bytes]
) -> Iterator[io_pb2.WriteRequest]:
    from tambourinefs.rpc import io_pb2

    yield io_pb2.WriteRequest(header=header)
    digest = hashlib.sha256()
    for piece in (data,) if isinstance(data, bytes) else data:
        for at in range(0, len(piece), CHUNK):
            chunk = piece[at : at + CHUNK]
            digest.update(chunk)
            yield io_pb2.WriteRequest(chunk=chunk)
    yield io_pb2.WriteRequest(commit=io_pb2.WriteCommit(sha256=digest.digest()))


def _volume(name: Volume) -> io_pb2.Volume.ValueType:
    from tambourinefs.rpc import io_pb2

    return {"silo": io_pb2.VOLUME_SILO, "proc": io_pb2.VOLUME_PROC}[name]


def _entry(entry: io_pb2.Entry) -> Entry:
    return Entry(
        name=entry.name,
        kind=_ENTRY_KINDS.get(entry.type, "other"),
        size=entry.size,
        mode=entry.mode,
        mtime_ns=entry.mtime_ns,
        etag=entry.etag,
        uid=entry.uid,
        gid=entry.gid,
    )
