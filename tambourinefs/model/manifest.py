"""Manifests from YAML (the command line) and JSON (the silo), and back to JSON.

A `Manifest` is valid: after parsing only the host's policy has to be checked.
"""

from __future__ import annotations

import hashlib

import msgspec

from tambourinefs.model import rules, unitfile, wire
from tambourinefs.model.document import MAX_BYTES, Document, from_json, wrong
from tambourinefs.model.schema import (
    API_VERSION,
    KIND,
    ContentFrom,
    DropIn,
    File,
    Manifest,
    Metadata,
    Rollout,
    Spec,
)

__all__ = [
    "API_VERSION",
    "KIND",
    "MAX_BYTES",
    "ContentFrom",
    "DropIn",
    "File",
    "Manifest",
    "Metadata",
    "Rollout",
    "Spec",
    "content_digest",
    "drop_ins_claimed",
    "names_claimed",
    "parse_json",
    "parse_yaml",
    "to_json",
]


def parse_json(data: bytes, *, source: str) -> Manifest:
    """Parse one Tambourine object as JSON (RFC 8259), at most 1 MiB. Raises InvalidManifest."""
    return _manifest(from_json(data, source))


def parse_yaml(data: bytes, *, source: str) -> list[Manifest]:
    """Parse the documents of a YAML file and the items of Lists (`kubectl get -o yaml`).

    Raises InvalidManifest, also if there is no manifest.
    """
    # Daemons parse JSON only and do not import PyYAML.
    from tambourinefs.model.yamldocument import from_yaml

    found = [_manifest(item) for whole in from_yaml(data, source) for item in _items(whole)]
    if not found:
        raise wrong("no manifest found", source)
    return found


def to_json(manifest: Manifest) -> bytes:
    """The canonical JSON, as in the silo. Raises InvalidManifest if it exceeds MAX_BYTES."""
    return _encode(manifest, _label(manifest))


def _encode(manifest: Manifest, source: str, line: int = 0) -> bytes:
    encoded = msgspec.json.encode(manifest, order="deterministic")
    data = msgspec.json.format(encoded, indent=2) + b"\n"
    if len(data) > MAX_BYTES:
        raise wrong(f"larger than {MAX_BYTES >> 20} MiB as JSON ({len(data)} bytes)", source, line)
    return data


def content_digest(manifest: Manifest) -> str:
    """The revision: SHA-256 (64 hex digits) of the spec without state, command, commandID, nodes and
    rollout.
    """
    spec = manifest.spec
    content = [
        spec.unit_name,
        spec.unit,
        sorted(spec.drop_ins, key=lambda drop_in: drop_in.name),
        sorted(spec.files, key=lambda file: file.path),
        spec.enabled,
        spec.on_change,
        spec.deletion_policy,
    ]
    return hashlib.sha256(msgspec.json.encode(content, order="sorted")).hexdigest()


def names_claimed(manifest: Manifest) -> frozenset[str]:
    """The unit names that only one manifest may have: its unit, and each Alias= and Also=.

    Manifests that only observe, command or add drop-ins claim no name.
    """
    spec = manifest.spec
    own = frozenset() if spec.unit is None else frozenset({spec.unit_name})
    return own | unitfile.aliases(spec.texts, spec.unit_name)


def drop_ins_claimed(manifest: Manifest) -> frozenset[tuple[str, str]]:
    """(unit, file name) of each drop-in."""
    return frozenset((manifest.spec.unit_name, drop_in.name) for drop_in in manifest.spec.drop_ins)


def _label(manifest: Manifest) -> str:
    metadata = manifest.metadata
    return f"{metadata.namespace}/{metadata.name}" if metadata.namespace else metadata.name


def _items(document: Document) -> list[Document]:
    """The document, or the items of a List."""
    data = document.data
    if not isinstance(data, dict) or data.get("kind") not in ("List", f"{KIND}List"):
        return [document]
    items = data.get("items")
    if not isinstance(items, list):
        raise document.wrong("expected array", "items")
    return [
        Document(item, document.source, document.line_of(f"items[{index}]"), document.lines)
        for index, item in enumerate(items)
    ]


def _manifest(document: Document) -> Manifest:
    try:
        wire.prepare(document)
        manifest = msgspec.convert(document.data, Manifest)
    except msgspec.ValidationError as error:
        raise wire.translated(error, document) from None
    for problem in rules.problems(manifest):
        raise document.wrong(problem.reason, problem.path, problem.hint)
    _encode(manifest, document.source, document.line)  # it must fit into the silo
    return manifest
