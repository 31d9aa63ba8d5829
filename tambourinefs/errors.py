"""Every error that crosses a module of ours, drawn as one tree.

    TambourineError
    ├── InvalidInput            what was handed in is wrong            (exit 2, INVALID_ARGUMENT)
    │   ├── InvalidManifest     … a manifest, with source and field
    │   └── InvalidConfig       … the host's configuration, with file and key
    ├── RefusedByPolicy         the host's policy says no              (exit 3, PERMISSION_DENIED)
    ├── NotFound                no such file, manifest or service      (exit 1, NOT_FOUND)
    ├── AlreadyExists           a name is taken                        (exit 1, ALREADY_EXISTS)
    ├── Conflict                somebody else changed it first         (exit 1, FAILED_PRECONDITION)
    ├── OutOfSpace              quota, disk or a bounded table is full (exit 1, RESOURCE_EXHAUSTED)
    ├── NotAsAsked              the service is not as asked            (exit 1)
    ├── Unreachable             the other side cannot be reached       (exit 4, UNAVAILABLE)
    ├── Unmounted               somebody unmounted what we serve       (a daemon's end: exit 5 under systemd, else 0)
    └── HostError               this host cannot do what is needed     (exit 1, INTERNAL)

An error has one name inside and is translated once at each border: errno in fuse, StatusCode in rpc, exit code in
cli. `message` says what, and of which thing; `hint` says what to do next.
"""

from __future__ import annotations


class TambourineError(Exception):
    """Base of all. `str(error)` is one line without a full stop; `hint` is one sentence, or empty."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class InvalidInput(TambourineError):  # noqa: N818  (named for what happened, as the others are)
    """What a person or a program handed in is wrong; sending it again will not help."""


class InvalidManifest(InvalidInput):
    """A manifest is wrong. `source` is a file, `-` or namespace/name; `field` is a path such as `spec.files[1].mode`."""

    def __init__(self, reason: str, *, source: str = "", field: str = "", hint: str = "") -> None:
        at = f" at {field}" if field else ""
        of = f'manifest "{source}": ' if source else ""
        super().__init__(f"{of}{reason}{at}", hint=hint)
        self.reason = reason
        self.source = source
        self.field = field


class InvalidConfig(InvalidInput):
    """The host's configuration is wrong. `source` is the file, `key` the dotted TOML key."""

    def __init__(self, reason: str, *, source: str = "", key: str = "", hint: str = "") -> None:
        of = f"{source}: " if source else ""
        at = f"{key}: " if key else ""
        super().__init__(f"{of}{at}{reason}", hint=hint)
        self.source = source
        self.key = key


class RefusedByPolicy(TambourineError):  # noqa: N818
    """The host's configuration does not allow it."""


class NotFound(TambourineError):  # noqa: N818
    """There is no such file, manifest or service."""


class AlreadyExists(TambourineError):  # noqa: N818
    """The name is taken and the caller asked for it not to be."""


class Conflict(TambourineError):  # noqa: N818
    """Somebody else changed it first (an if-match that does not match)."""


class OutOfSpace(TambourineError):  # noqa: N818
    """A quota, a disk or a bounded table is full; nothing was half written."""


class NotAsAsked(TambourineError):  # noqa: N818
    """The request was carried out, and the service is not as it asks."""


class Unreachable(TambourineError):  # noqa: N818
    """The other side cannot be reached, or went away; trying again may help."""


class Unmounted(TambourineError):  # noqa: N818
    """Somebody has unmounted what this process serves, by hand: that is how a file server is asked to end."""


class HostError(TambourineError):
    """This host lacks or broke something that is needed."""
