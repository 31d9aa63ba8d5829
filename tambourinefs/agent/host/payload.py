"""Payload: files beside a manifest in the silo, which it names with their digest. It blocks: call it
from a thread.
"""

from __future__ import annotations

import hashlib
import os
import stat
from typing import Final

from tambourinefs import files
from tambourinefs.errors import InvalidInput

_CHUNK: Final = 1 << 20


class PayloadMissing(InvalidInput):
    """A file that the manifest names is not in the silo (yet), or has another digest."""


def open_payload(silo: int, name: str) -> int:
    """A payload beside a manifest; `silo` is the manifest's directory. Raises PayloadMissing."""
    try:
        fd = files.open_beneath(silo, name, os.O_RDONLY | os.O_NONBLOCK)
    except OSError as error:
        raise PayloadMissing(f"payload {name}: {error.strerror}") from error
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise PayloadMissing(f"payload {name} is not a regular file")
    return fd


def check_payload(silo: int, name: str, digest: str) -> None:
    """Raises PayloadMissing unless the payload is there and has that digest."""
    fd = open_payload(silo, name)
    try:
        found = digest_of(fd)
    except OSError as error:
        raise PayloadMissing(f"payload {name}: {error.strerror}") from error
    finally:
        os.close(fd)
    if found != digest:
        raise PayloadMissing(f"payload {name} has sha256 {found}, the manifest has {digest}")


def copy(source: int, fd: int) -> str:
    """Copy one open file to another; returns the sha256 of what was copied. Raises OSError."""
    digest = hashlib.sha256()
    while chunk := os.read(source, _CHUNK):
        digest.update(chunk)
        files.write_all(fd, chunk)
    return digest.hexdigest()


def digest_of(fd: int) -> str:
    """The sha256 of the rest of an open file. Raises OSError."""
    digest = hashlib.sha256()
    while chunk := os.read(fd, _CHUNK):
        digest.update(chunk)
    return digest.hexdigest()
