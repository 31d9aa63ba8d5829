"""Payload: files beside a manifest, here and in the silo, that `files[].contentFrom` names by digest."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tambourinefs.cli.host.connection import LOCAL, SILO
from tambourinefs.errors import InvalidManifest, NotFound

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tambourinefs.cli.host.sources import Source
    from tambourinefs.rpc.client import Client

_CHUNK: Final = 256 * 1024


@dataclass(frozen=True, slots=True)
class Payload:
    """A file to be sent before the manifest that names it."""

    path: str  # in the silo
    file: Path  # here


def missing(client: Client, source: Source) -> list[Payload]:
    """The part of a manifest's payload that the silo lacks, with the local files that have it.

    Raises InvalidManifest where a digest does not match, or neither the silo nor the manifest's directory has it.
    """
    found = []
    name = source.manifest.metadata.name
    for place, file in enumerate(source.manifest.spec.files):
        wanted = file.content_from
        if wanted is None:
            continue
        path = f"{LOCAL}/{name}/{wanted.silo}"
        if _in_silo(client, path) == wanted.sha256:
            continue
        field = f"spec.files[{place}].contentFrom"
        found.append(Payload(path, _beside(source, wanted.silo, wanted.sha256, field)))
    return found


def upload(client: Client, payload: Payload) -> None:
    """Send one payload file; it survives a loss of power when this returns.

    Raises OutOfSpace, Unreachable.
    """
    client.write(SILO, payload.path, _chunks(payload.file), parents=True)


def _in_silo(client: Client, path: str) -> str:
    try:
        _, chunks = client.read_stream(SILO, path)
    except NotFound:
        return ""
    digest = hashlib.sha256()
    for chunk in chunks:
        digest.update(chunk)
    return digest.hexdigest()


def _beside(source: Source, name: str, sha256: str, field: str) -> Path:
    where = f"{LOCAL}/{source.manifest.metadata.name}"
    file = source.directory / name if source.directory else None
    if file is None or not file.is_file():
        raise InvalidManifest(
            f'payload "{name}" is neither in the silo nor in the manifest\'s directory',
            source=where,
            field=field,
            hint=f"put the file {name} into the manifest's directory",
        )
    digest = hashlib.sha256()
    for chunk in _chunks(file):
        digest.update(chunk)
    if digest.hexdigest() != sha256:
        raise InvalidManifest(
            f"sha256 of {file} is {digest.hexdigest()}, the manifest says {sha256}",
            source=where,
            field=field,
        )
    return file


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk
