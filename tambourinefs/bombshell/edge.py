"""The edge to gRPC, where an OSError becomes the status of a call. The table is rpc/errors.py."""

from __future__ import annotations

import errno
import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import NoReturn, cast

import grpc
from grpc_status import rpc_status

from tambourinefs.rpc.errors import row_for, show, to_status

log = logging.getLogger("bombshell")


class Ended(Exception):  # noqa: N818  (not an error: the call has its status)
    """The call has its status; passes through to gRPC."""


def abort(
    context: grpc.ServicerContext, error: OSError, *, volume: str = "", path: bytes = b""
) -> NoReturn:
    """End the call with the status of an OSError; raises Ended."""
    status = rpc_status.to_status(to_status(error, volume=volume, path=path))
    try:
        context.abort_with_status(status)
    except Exception as bare:  # gRPC raises just that
        raise Ended(status.details) from bare
    raise AssertionError("abort_with_status raises")


@contextmanager
def translated(context: grpc.ServicerContext, volume: str, path: bytes) -> Iterator[None]:
    """An OSError inside ends the call with its status; any other exception with INTERNAL, and a
    traceback in the log.
    """
    try:
        yield
    except OSError as error:
        if row_for(error.errno or 0).code == "INTERNAL":  # of the disk, or a bug
            expected = error.errno == errno.EIO
            log.warning("%s:/%s failed: %s", volume, show(path), error, exc_info=not expected)
        problem = error
    except (Ended, grpc.RpcError):  # RpcError: gRPC has ended the call
        raise
    except Exception:
        log.exception("a request failed unexpectedly")
        problem = OSError(errno.EIO, "internal error; see the log of tambourine-bombshell.service")
    else:
        return
    abort(context, problem, volume=volume, path=path)


def caller(context: grpc.ServicerContext) -> str:
    """The caller, by its certificate's common name: a Unix socket has no peer address."""
    names = cast("Iterable[bytes]", context.auth_context().get("x509_common_name", ()))
    return show(b", ".join(names)) or "-"
