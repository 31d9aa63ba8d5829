"""Every error that crosses a module boundary, as one tree.

    TambourineError
    ├── InvalidInput            the input is invalid                   (exit 2, INVALID_ARGUMENT)
    │   ├── InvalidManifest     … a manifest, with source and field
    │   └── InvalidConfig       … the host's configuration, with file and key
    ├── RefusedByPolicy         the host's policy does not allow it    (exit 3, PERMISSION_DENIED)
    ├── NotFound                no such file, manifest or service      (exit 1, NOT_FOUND)
    ├── AlreadyExists           the name is in use                     (exit 1, ALREADY_EXISTS)
    ├── Conflict                it changed in the meantime             (exit 1, FAILED_PRECONDITION)
    ├── OutOfSpace              quota, disk or a bounded table is full (exit 1, RESOURCE_EXHAUSTED)
    ├── Incomplete              some steps could not be completed      (exit 1)
    ├── Unreachable             the peer cannot be reached             (exit 4, UNAVAILABLE)
    ├── Unmounted               a served mount was unmounted           (exit 5 under systemd, else 0)
    └── HostError               this host cannot do what is needed     (exit 1, INTERNAL)

An error is translated once at each edge: to an errno in fuse, a StatusCode in rpc, an exit code in
cli. `message` says what is wrong, of which object and field, and why; `hint` says what to do.
"""

from __future__ import annotations


class TambourineError(Exception):
    """Base class. `message` is one line without a full stop; `hint` is one sentence, or empty."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class InvalidInput(TambourineError):  # noqa: N818
    """The input is invalid; sending it again does not help."""


class InvalidManifest(InvalidInput):
    """An invalid manifest. `source`: file:line or namespace/name; `field`: as `spec.files[1].mode`."""

    def __init__(self, reason: str, *, source: str = "", field: str = "", hint: str = "") -> None:
        super().__init__(_joined(source, field, reason), hint=hint)
        self.reason = reason
        self.source = source
        self.field = field


class InvalidConfig(InvalidInput):
    """An invalid configuration. `source` is the file, `key` the dotted TOML key."""

    def __init__(self, reason: str, *, source: str = "", key: str = "", hint: str = "") -> None:
        super().__init__(_joined(source, key, reason), hint=hint)
        self.source = source
        self.key = key


class RefusedByPolicy(TambourineError):  # noqa: N818
    """The host's configuration does not allow it."""


class NotFound(TambourineError):  # noqa: N818
    """There is no such file, manifest or service."""


class AlreadyExists(TambourineError):  # noqa: N818
    """The name is in use, and the caller required a new one."""


class Conflict(TambourineError):  # noqa: N818
    """It changed in the meantime (if-match does not match)."""


class OutOfSpace(TambourineError):  # noqa: N818
    """A quota, a disk or a bounded table is full; nothing was written in part."""


class Incomplete(TambourineError):  # noqa: N818
    """An operation of several steps stopped or timed out; it can be run again."""


class Unreachable(TambourineError):  # noqa: N818
    """The peer cannot be reached or closed the connection; trying again may help."""


class Unmounted(TambourineError):  # noqa: N818
    """The mount that this process serves was unmounted, which asks a file server to stop."""


class HostError(TambourineError):
    """Something that is needed is missing or broken on this host."""


def _joined(*parts: str) -> str:
    return ": ".join(part for part in parts if part)
