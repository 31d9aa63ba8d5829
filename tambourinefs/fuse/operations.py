"""The base of the file systems: an exception in a handler does not end the mount."""

from __future__ import annotations

import errno
import functools
import logging
from collections.abc import Awaitable, Callable
from typing import Final, ParamSpec, TypeVar

import pyfuse3
from pyfuse3 import FUSEError

P = ParamSpec("P")
T = TypeVar("T")

_log = logging.getLogger(__name__)

_CHANGES: Final = frozenset(
    {"setattr", "mknod", "mkdir", "unlink", "rmdir", "symlink", "rename", "link", "create", "write"}
    | {"setxattr", "removexattr"}
)
_HANDLERS: Final = _CHANGES | {
    *("lookup", "getattr", "readlink", "open", "read", "release", "fsync", "poll", "opendir"),
    *("readdir", "releasedir", "fsyncdir", "statfs", "getxattr", "listxattr", "access"),
}


def _number(error: OSError) -> int:
    """The errno to answer. Never ENOSYS: the kernel would remember it and stop asking."""
    if error.errno == errno.ENOSYS:
        return errno.EOPNOTSUPP
    return error.errno or errno.EIO


def _guarded(call: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[T]]:
    """A handler that raises FUSEError alone: OSError becomes its errno, any other EIO, and a
    traceback in the log.
    """

    @functools.wraps(call)
    async def guarded(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return await call(*args, **kwargs)
        except FUSEError:
            raise
        except OSError as error:
            raise FUSEError(_number(error)) from error
        except Exception as error:
            _log.exception("%s failed", call.__name__)
            raise FUSEError(errno.EIO) from error

    return guarded


def _silenced(call: Callable[P, Awaitable[None]]) -> Callable[P, Awaitable[None]]:
    """`forget` has no answer: pyfuse3 allows no exception there."""

    @functools.wraps(call)
    async def silenced(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            await call(*args, **kwargs)
        except Exception:
            _log.exception("%s failed", call.__name__)

    return silenced


class Operations(pyfuse3.Operations):
    """Base of the file systems: a handler may raise OSError (or anything) without ending the mount.

    Handlers that a subclass defines are guarded. Handlers that it does not define are refused:
    changes with EROFS, extended attributes as missing; fsync has nothing to do. `flush` and `poll`
    alone stay unimplemented (ENOSYS): the kernel remembers that and saves a round trip with each
    close, each poll.
    """

    supports_dot_lookup = False
    enable_writeback_cache = False

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        for name, call in list(vars(cls).items()):
            if name in _HANDLERS:
                setattr(cls, name, _guarded(call))
            elif name == "forget":
                setattr(cls, name, _silenced(call))


def _answering(name: str, number: int, value: object) -> Callable[..., Awaitable[object]]:
    """A handler that fails with `number`, or, where that is 0, succeeds with `value`."""

    async def answer(*_: object) -> object:
        if number:
            raise FUSEError(number)
        return value

    answer.__name__ = name
    return answer


for _name in _CHANGES:
    setattr(Operations, _name, _answering(_name, errno.EROFS, None))
for _name in ("fsync", "fsyncdir", "release", "releasedir"):  # nothing was written, nothing is held
    setattr(Operations, _name, _answering(_name, 0, None))
setattr(Operations, "getxattr", _answering("getxattr", errno.ENODATA, None))  # noqa: B010
setattr(Operations, "listxattr", _answering("listxattr", 0, ()))  # noqa: B010
