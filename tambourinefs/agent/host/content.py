"""What a manifest puts on a host, as a list of files with digests. Pure: payload is named, not
read.

The content changed when the digest of all of it changed: a generation with the same content writes
nothing.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tambourinefs.model import paths, unitfile

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tambourinefs.model.manifest import File, Manifest

UNIT: Final = "unit"
DROP_IN: Final = "drop-in"
FILE: Final = "file"


@dataclass(frozen=True, slots=True)
class Target:
    """One file to write. Its bytes are `data`, or those of the file `payload` beside the manifest;
    their sha256 is `digest`.
    """

    path: str  # absolute, normalised
    kind: str  # "unit", "drop-in" or "file"
    digest: str  # sha256, 64 hex digits
    mode: int
    owner: str  # a name, or digits
    group: str
    data: bytes | None = None
    payload: str = ""


@dataclass(frozen=True, slots=True)
class Content:
    """All files of one manifest, the plain ones first: a unit is written after what it needs."""

    targets: tuple[Target, ...]
    digest: str  # "" without files
    install: str = ""  # digest of [Install] in its texts; "" without a unit file

    @property
    def unit(self) -> Target | None:
        """The unit file, if the manifest brings one."""
        return next((t for t in self.targets if t.kind == UNIT), None)


def unit_path(unit: str) -> str:
    """Where unit files go: the administrator's directory, so that a boot needs no Tambourine."""
    return str(paths.UNITS / unit)


def drop_in_path(unit: str, name: str) -> str:
    """Where a drop-in goes (systemd.unit(5))."""
    return str(paths.UNITS / f"{unit}.d" / name)


def content_of(manifest: Manifest) -> Content:
    """The files that this manifest wants on the host."""
    spec = manifest.spec
    targets = [_file_target(file) for file in spec.files]
    for drop_in in spec.drop_ins:
        path = drop_in_path(spec.unit_name, drop_in.name)
        targets.append(_text_target(path, DROP_IN, drop_in.content))
    if spec.unit is not None:
        meta = manifest.metadata
        # Neither uid nor generation: the same unit stays the same file.
        text = unitfile.stamp(spec.unit, {"Manifest": f"{meta.namespace}/{meta.name}"})
        targets.append(_text_target(unit_path(spec.unit_name), UNIT, text))
    install = "" if spec.unit is None else _install(spec.texts)
    return Content(tuple(targets), _digest(targets), install)


def _file_target(file: File) -> Target:
    data = file.inline_bytes()
    if data is None:
        assert file.content_from is not None
        digest, payload = file.content_from.sha256, file.content_from.silo
    else:
        digest, payload = hashlib.sha256(data).hexdigest(), ""
    return Target(file.path, FILE, digest, file.permissions, file.owner, file.group, data, payload)


def _text_target(path: str, kind: str, text: str) -> Target:
    data = text.encode()
    return Target(path, kind, hashlib.sha256(data).hexdigest(), 0o644, "root", "root", data)


def _install(texts: Iterable[str]) -> str:
    settings = (
        s for text in texts for s in unitfile.parse(text).settings if s.section == "Install"
    )
    lines = "".join(f"{setting.key}={setting.value}\0" for setting in settings)
    return hashlib.sha256(lines.encode()).hexdigest()


def _digest(targets: list[Target]) -> str:
    if not targets:
        return ""
    lines = sorted(f"{t.path}\0{t.digest}\0{t.mode:o}\0{t.owner}\0{t.group}\n" for t in targets)
    return hashlib.sha256("".join(lines).encode()).hexdigest()
