"""The table of errors: errno <-> gRPC status code <-> TambourineError.

The server uses errno inside (its work is file IO) and answers with `to_status`; the client makes a
TambourineError of the answer with `from_rpc_error`. The errno's name travels as `reason` in
google.rpc.ErrorInfo (error_details.proto, AIP-193), so that a client in any language can tell a
quota from a full disk.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Final, NamedTuple, cast

from tambourinefs import errors

if TYPE_CHECKING:
    import grpc
    from google.rpc.status_pb2 import Status

DOMAIN: Final = "bombshell.tambourine"
# Bytes of UTF-8 of a message, and of a path in the details. Most peers refuse trailing metadata
# over 8 KiB, where what is not ASCII takes three bytes for one (percent-encoding) and is repeated
# in the details.
MAX_MESSAGE: Final = 1024


class Row(NamedTuple):
    """One failure: the errno inside the server, the name of the StatusCode on the wire, the class
    in the client, and what to do next, where the message alone does not say it.
    """

    number: int
    code: str
    error: type[errors.TambourineError]
    hint: str = ""


_FULL: Final = "To see what is full, on the host: tambourine doctor"
_READ_ONLY: Final = (
    "The disk is mounted read-only, or the kernel made it so after an error (dmesg). "
    "On the host: tambourine doctor"
)

_ROWS: Final = (
    Row(errno.ENOENT, "NOT_FOUND", errors.NotFound),
    Row(errno.EEXIST, "ALREADY_EXISTS", errors.AlreadyExists),
    Row(errno.EINVAL, "INVALID_ARGUMENT", errors.InvalidInput),
    Row(errno.ENAMETOOLONG, "INVALID_ARGUMENT", errors.InvalidInput),
    Row(errno.EPROTO, "INVALID_ARGUMENT", errors.InvalidInput),  # messages in a wrong order
    Row(errno.EOPNOTSUPP, "UNIMPLEMENTED", errors.HostError),
    Row(errno.ESTALE, "FAILED_PRECONDITION", errors.Conflict),  # if_match did not match
    Row(errno.ENOTEMPTY, "FAILED_PRECONDITION", errors.Conflict),
    Row(errno.ENOTDIR, "FAILED_PRECONDITION", errors.HostError),
    Row(errno.EISDIR, "FAILED_PRECONDITION", errors.HostError),
    Row(errno.ELOOP, "FAILED_PRECONDITION", errors.HostError),  # a link in the path
    Row(errno.EXDEV, "FAILED_PRECONDITION", errors.HostError),
    Row(errno.EBUSY, "FAILED_PRECONDITION", errors.HostError),
    Row(errno.ENXIO, "FAILED_PRECONDITION", errors.HostError),  # a FIFO, a socket, a device
    Row(errno.EACCES, "PERMISSION_DENIED", errors.RefusedByPolicy),
    Row(errno.EPERM, "PERMISSION_DENIED", errors.RefusedByPolicy),
    # A disk; a read-only volume is EPERM.
    Row(errno.EROFS, "FAILED_PRECONDITION", errors.HostError, _READ_ONLY),
    Row(errno.ENOSPC, "RESOURCE_EXHAUSTED", errors.OutOfSpace, _FULL),
    Row(errno.EDQUOT, "RESOURCE_EXHAUSTED", errors.OutOfSpace, _FULL),
    Row(errno.EFBIG, "RESOURCE_EXHAUSTED", errors.OutOfSpace),
    Row(errno.EMLINK, "RESOURCE_EXHAUSTED", errors.OutOfSpace),
    Row(
        errno.EUSERS, "RESOURCE_EXHAUSTED", errors.Unreachable
    ),  # too many streams: try again later
    Row(errno.ENOBUFS, "RESOURCE_EXHAUSTED", errors.Unreachable),  # too many uncommitted bytes
    Row(errno.EMFILE, "RESOURCE_EXHAUSTED", errors.Unreachable),
    Row(errno.ENFILE, "RESOURCE_EXHAUSTED", errors.Unreachable),
    Row(errno.ENOMEM, "RESOURCE_EXHAUSTED", errors.Unreachable),
    Row(errno.EBADMSG, "DATA_LOSS", errors.HostError),  # the sha256 does not match
    Row(errno.ENOTCONN, "UNAVAILABLE", errors.Unreachable),  # a FUSE mount without its server
    Row(errno.ECONNABORTED, "UNAVAILABLE", errors.Unreachable),  # … whose connection was aborted
    Row(errno.ENODEV, "UNAVAILABLE", errors.Unreachable),  # not mounted
    Row(errno.ESHUTDOWN, "UNAVAILABLE", errors.Unreachable),  # mounted, and does not answer
    Row(errno.ETIMEDOUT, "DEADLINE_EXCEEDED", errors.Unreachable),
    Row(errno.ECANCELED, "CANCELLED", errors.Unreachable),  # a stream without progress was ended
    Row(errno.EIO, "INTERNAL", errors.HostError),  # and every other errno
)
_BY_ERRNO: Final = {row.number: row for row in _ROWS}
_BY_REASON: Final = {errno.errorcode[row.number]: row for row in _ROWS}
_BY_CODE: Final[dict[str, type[errors.TambourineError]]] = {
    "ABORTED": errors.Unreachable,
    "UNAUTHENTICATED": errors.Unreachable,
    "RESOURCE_EXHAUSTED": errors.Unreachable,  # without a reason it is gRPC's own
    "OUT_OF_RANGE": errors.InvalidInput,
    "FAILED_PRECONDITION": errors.Conflict,
    **{
        row.code: row.error
        for row in reversed(_ROWS)
        if row.code not in ("RESOURCE_EXHAUSTED", "FAILED_PRECONDITION")
    },
}


def row_for(number: int) -> Row:
    """The row of an errno; EIO's for one that is not in the table."""
    return _BY_ERRNO.get(number, _BY_ERRNO[errno.EIO])


def to_status(error: OSError, *, volume: str, path: bytes) -> Status:
    """google.rpc.Status of an OSError: code, one line without control characters, ErrorInfo
    (reason, volume, path).
    """
    from google.protobuf.any_pb2 import Any
    from google.rpc import error_details_pb2, status_pb2
    from grpc import StatusCode

    number = error.errno or errno.EIO
    shown = show(path)
    info = error_details_pb2.ErrorInfo(
        reason=errno.errorcode.get(number, str(number)),
        domain=DOMAIN,
        metadata={"volume": volume, "path": _bounded(shown, slice(MAX_MESSAGE))},
    )
    packed = Any()
    packed.Pack(info)
    text = f"{volume}:/{shown}: {error.strerror or os.strerror(number)}"
    return status_pb2.Status(
        code=StatusCode[row_for(number).code].value[0],
        message=_bounded(text, slice(-MAX_MESSAGE, None)),
        details=[packed],
    )


def _bounded(text: str, part: slice) -> str:
    """A part of the text's UTF-8, without the halves of characters at its ends."""
    return text.encode()[part].decode(errors="ignore")


def from_rpc_error(error: grpc.RpcError) -> errors.TambourineError:
    """The TambourineError of an ended call. `error` is what a stub's call or iterator raised (a
    grpc.Call too).
    """
    import grpc

    call = cast("grpc.Call", error)  # every RpcError of a stub is one, which its type does not say
    details = call.details() or ""
    row = _BY_REASON.get(_reason(call))
    code = call.code()
    if row is not None and row.code == code.name:
        return row.error(details, hint=row.hint)
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return errors.Unreachable(
            "Bombshell did not answer in time",
            hint="A volume may hang. See: systemctl status 'tambourine*'",
        )
    if code is grpc.StatusCode.CANCELLED:
        return errors.Unreachable(
            "Bombshell ended the call: it is stopping, or the call made no progress"
        )
    return _BY_CODE.get(code.name, errors.HostError)(details or code.name)


def is_answer(error: grpc.RpcError) -> bool:
    """Whether Bombshell answered, or the caller's own deadline ended the call; else Bombshell
    cannot be reached.
    """
    import grpc

    call = cast("grpc.Call", error)
    return call.code() is not grpc.StatusCode.UNAVAILABLE or bool(_reason(call))


def _reason(call: grpc.Call) -> str:
    from google.rpc import error_details_pb2
    from grpc_status import rpc_status

    try:
        status = rpc_status.from_call(call)
    except ValueError:  # the details contradict the status: not Bombshell's answer
        return ""
    for detail in status.details if status is not None else ():
        info = error_details_pb2.ErrorInfo()
        if detail.Unpack(info) and info.domain == DOMAIN:
            return str(info.reason)
    return ""


def show(path: bytes) -> str:
    """A path for a message: control characters and bytes that are not UTF-8 are escaped, so that it
    stays one line.
    """
    text = path.decode("utf-8", "backslashreplace")
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text
    )
