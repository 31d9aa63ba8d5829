"""Between plain data and the schema: fields that are dropped, equivalent spellings, and messages for
msgspec's errors.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from tambourinefs.model import names
from tambourinefs.model.document import wrong
from tambourinefs.model.schema import (
    CHOICES,
    SERVER_FIELDS,
    STRUCTS,
    ContentFrom,
    DropIn,
    File,
    Manifest,
    Metadata,
    Rollout,
    Spec,
    Wire,
)

if TYPE_CHECKING:
    import msgspec

    from tambourinefs.errors import InvalidManifest
    from tambourinefs.model.document import Document

# Probably 0400, 0440, 0444 and 0500 without the zero, and not 0620, 0670, 0674 or 0764.
_MODES_WITHOUT_ZERO: Final = frozenset({400, 440, 444, 500})
_OCTAL: Final = re.compile(r"0?[0-7]{3}")

_UNKNOWN: Final = re.compile(r"Object contains unknown field `(.*)`", re.DOTALL)
_MISSING: Final = re.compile(r"Object missing required field `(.*)`")
_INDEX: Final = re.compile(r"\[\d+\]")


def prepare(document: Document) -> None:
    """Normalise the data in place for the schema.

    Drops `status`, the API server's metadata and fields that are null. A mode, owner or group that
    is a number becomes text, base64 loses its line breaks. Raises InvalidManifest for an implausible
    mode.
    """
    root = document.data
    if not isinstance(root, dict):
        return
    root.pop("status", None)
    metadata, spec = root.get("metadata"), root.get("spec")
    if isinstance(metadata, dict):
        for name in SERVER_FIELDS:
            metadata.pop(name, None)
    if isinstance(spec, dict):
        for index, file in enumerate(_list(spec.get("files"))):
            if isinstance(file, dict):
                _prepare_file(document, file, f"spec.files[{index}]")
    parts: list[tuple[object, type[Wire]]] = [
        (root, Manifest),
        (metadata, Metadata),
        (spec, Spec),
        *_parts(spec),
    ]
    for part, shape in parts:
        _drop_nulls(part, shape)


def _parts(spec: object) -> list[tuple[Any, type[Wire]]]:
    """The objects in a spec and their structs."""
    if not isinstance(spec, dict):
        return []
    files = _objects(spec.get("files"))
    return [
        (spec.get("rollout"), Rollout),
        *((drop_in, DropIn) for drop_in in _objects(spec.get("dropIns"))),
        *((file, File) for file in files),
        *((file.get("contentFrom"), ContentFrom) for file in files),
    ]


def _objects(values: object) -> list[dict[str, Any]]:
    return [value for value in _list(values) if isinstance(value, dict)]


def _list(values: object) -> list[Any]:
    return values if isinstance(values, list) else []


def _drop_nulls(part: object, shape: type[Wire]) -> None:
    """Of known fields only: an unknown field is an error, even if it is null."""
    if isinstance(part, dict):
        for name in shape.__struct_encode_fields__:
            if name in part and part[name] is None:
                del part[name]


def _prepare_file(document: Document, file: dict[str, Any], at: str) -> None:
    mode = file.get("mode")
    if isinstance(mode, int) and not isinstance(mode, bool):
        if mode in _MODES_WITHOUT_ZERO or not 0 <= mode <= 0o777:
            raise document.wrong(
                f"mode {mode} is {mode:#o} in octal" if mode >= 0 else "must not be negative",
                f"{at}.mode",
                f'write it as a string of octal digits, such as "{abs(mode) % 10000:04}"',
            )
        file["mode"] = f"{mode:04o}"
    elif isinstance(mode, str) and _OCTAL.fullmatch(mode):
        file["mode"] = mode.zfill(4)
    for field in ("owner", "group"):
        number = file.get(field)
        if isinstance(number, int) and not isinstance(number, bool):
            file[field] = str(number)
    encoded, source = file.get("contentBase64"), file.get("contentFrom")
    if isinstance(encoded, str):
        file["contentBase64"] = encoded.translate({10: None, 13: None})
    if isinstance(source, dict) and isinstance(source.get("sha256"), str):
        source["sha256"] = source["sha256"].lower()


def translated(error: msgspec.ValidationError, document: Document) -> InvalidManifest:
    """msgspec's error with source, line, field and the most similar field name."""
    message, at, path = str(error).rpartition(" - at `$")
    if not at:
        message, path = path, ""
    path = path.removesuffix("`").removeprefix(".")
    if unknown := _UNKNOWN.fullmatch(message):
        name = unknown[1]
        meant = names.nearest(name, _fields(path))
        guess = f' (did you mean "{meant}"?)' if meant else ""
        line = document.line_of(f"{path}.{name}")
        return wrong(f'unknown field "{name[:64]}"{guess}', document.source, line, path=path)
    if missing := _MISSING.fullmatch(message):
        return document.wrong(f'missing field "{missing[1]}"', path)
    if path in CHOICES and message.startswith("Invalid enum value"):
        given = message.removeprefix("Invalid enum value ")
        return document.wrong(f"expected {_one_of(CHOICES[path])}, got {given}", path)
    return document.wrong(
        (message[:1].lower() + message[1:]).replace("`", "").replace(" | null", ""), path
    )


def _fields(path: str) -> tuple[str, ...]:
    struct = STRUCTS.get(_INDEX.sub("[]", path))
    return struct.__struct_encode_fields__ if struct else ()


def _one_of(choices: tuple[str, ...]) -> str:
    return choices[0] if len(choices) == 1 else f"{', '.join(choices[:-1])} or {choices[-1]}"
