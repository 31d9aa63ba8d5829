"""Manifests from files, directories and standard input; all are parsed before anything is written."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from tambourinefs.cli.host.connection import LOCAL
from tambourinefs.errors import InvalidInput, InvalidManifest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from tambourinefs.model.manifest import Manifest

STDIN: Final = "-"
SUFFIXES: Final = (".yaml", ".yml", ".json")
MAX_BYTES: Final = 16 << 20  # one file; each manifest in it has the model's own, smaller bound


class _Kind(msgspec.Struct):
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Source:
    """A manifest and where it came from. `directory` is that of its payload (None: standard input has none)."""

    manifest: Manifest
    origin: str
    directory: Path | None


def read_all(names: Sequence[str], *, recursive: bool = False) -> list[Source]:
    """The manifests of all the files, directories and `-`, in this order.

    Raises InvalidInput (or InvalidManifest) with every problem of every manifest.
    """
    sources, wrong = [], []
    for path in _paths(names, recursive):
        try:
            sources += list(_read(path))
        except InvalidInput as error:
            wrong.append(error)
    wrong += list(_twice(sources))
    if len(wrong) == 1:
        raise wrong[0]
    if wrong:
        raise InvalidInput("\nerror: ".join(e.message for e in wrong), hint="nothing was changed")
    return sources


def namespace_of(manifest: Manifest) -> str:
    """The namespace of a manifest; `local` where it has none."""
    return manifest.metadata.namespace or LOCAL


def _paths(names: Sequence[str], recursive: bool) -> Iterator[str]:
    for name in names:
        if name == STDIN or not Path(name).is_dir():
            yield name
            continue
        entries = Path(name).rglob("*") if recursive else Path(name).iterdir()
        found = sorted(str(p) for p in entries if p.suffix in SUFFIXES and p.is_file())
        if not found:
            raise InvalidInput(
                f"{name}: no manifests in this directory",
                hint=f"manifests end in {', '.join(SUFFIXES)}; --recursive includes subdirectories",
            )
        yield from found


def _read(path: str) -> Iterator[Source]:
    from tambourinefs.model.manifest import parse_json, parse_yaml

    data = _bytes(path)
    directory = None if path == STDIN else Path(path).parent
    origin = "standard input" if path == STDIN else path
    as_json = _is_json_object(path, data)
    found = [parse_json(data, source=origin)] if as_json else parse_yaml(data, source=origin)
    for manifest in found:
        _check_namespace(manifest, origin)
        yield Source(manifest, origin, directory)


def _is_json_object(path: str, data: bytes) -> bool:
    """Whether it is one JSON object, to be read by JSON's own rules (tabs may indent it). A List is YAML enough."""
    if not (path.endswith(".json") or data.lstrip()[:1] == b"{"):
        return False
    try:
        kind = msgspec.json.decode(data, type=_Kind).kind
    except msgspec.MsgspecError:
        return path.endswith(".json")
    return not kind.endswith("List")


def _bytes(path: str) -> bytes:
    try:
        if path == STDIN:
            data = sys.stdin.buffer.read(MAX_BYTES + 1)
        else:
            with open(path, "rb") as file:
                data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise InvalidInput(f"{path}: {error.strerror}") from error
    if len(data) > MAX_BYTES:
        raise InvalidInput(f"{path}: larger than {MAX_BYTES >> 20} MiB")
    return data


def _check_namespace(manifest: Manifest, origin: str) -> None:
    namespace = namespace_of(manifest)
    if namespace != LOCAL:
        raise InvalidManifest(
            f'namespace "{namespace}" is managed in Kubernetes',
            source=f"{namespace}/{manifest.metadata.name}",
            field="metadata.namespace",
            hint=f"use `kubectl apply -f {origin}`, or remove the namespace to manage the service on this host",
        )


def _twice(sources: Iterable[Source]) -> Iterator[InvalidManifest]:
    first: dict[str, str] = {}
    for source in sources:
        name = source.manifest.metadata.name
        if name in first:
            yield InvalidManifest(
                f"duplicate manifest: in {first[name]} and in {source.origin}",
                source=f"{LOCAL}/{name}",
                field="metadata.name",
            )
        first.setdefault(name, source.origin)
