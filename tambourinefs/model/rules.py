"""The rules of a manifest beyond its schema: names, and rules between fields. Not the host's policy."""

from __future__ import annotations

import base64
import binascii
import re
from itertools import pairwise
from typing import TYPE_CHECKING, Final, NamedTuple

from tambourinefs.model import names, paths, unitfile

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tambourinefs.model.schema import DropIn, File, Manifest, Metadata, Spec
    from tambourinefs.model.unitfile import UnitFile

MAX_ID: Final = 128  # characters of uid and commandID
MAX_NODES: Final = 1_000_000
# Of all texts of a unit together, for bounded time: a specifier can expand to 255 bytes.
MAX_TEXT: Final = 256 << 10  # characters
MAX_SETTINGS: Final = 3_000
MAX_SPECIFIERS: Final = 1_000

_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_MODE: Final = re.compile(r"0[0-7]{3}")
_USER: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,30}\$?|[0-9]{1,10}")
_PERCENT: Final = re.compile(r"(?:[1-9][0-9]?|100)%")
_LONE_RETURN: Final = re.compile(r"\r(?!\n)")
# Also inside a continued line: the CRD uses the same expression.
_STAMPED: Final = re.compile(r"(^|\n)\ufeff?[ \t]*\[X-Tambourine\][ \t]*(\\?\r?\n|\\?\Z)")
_TIME: Final = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)",
    re.ASCII,
)


class Problem(NamedTuple):
    """What is wrong, with which field (`spec.files[1].mode`), and what to do."""

    reason: str
    path: str
    hint: str = ""


def problems(manifest: Manifest) -> Iterator[Problem]:
    """Every violation, in the order of the fields."""
    yield from _metadata(manifest.metadata)
    yield from _name(manifest.spec)
    yield from _choice_of_nodes(manifest.spec)
    yield from _command(manifest.spec)
    if problem := _too_much(manifest.spec):
        yield Problem(problem, "spec.unit")
        return
    yield from _unit(manifest.spec)
    yield from _drop_ins(manifest.spec)
    yield from _files(manifest.spec)
    yield from _rollout(manifest.spec)


def _metadata(metadata: Metadata) -> Iterator[Problem]:
    if problem := names.object_name_problem(metadata.name):
        yield Problem(problem, "metadata.name")
    if metadata.namespace and (problem := names.namespace_problem(metadata.namespace)):
        yield Problem(problem, "metadata.namespace")
    yield from _identifier(metadata.uid, "metadata.uid")
    for key, value in metadata.labels.items():
        if problem := names.label_problem(key, value):
            yield Problem(problem, f"metadata.labels.{key}")
    for key in metadata.annotations:
        if problem := names.label_key_problem(key.lower()):  # as ValidateAnnotations() does
            yield Problem(problem, f"metadata.annotations.{key}")
    if metadata.creation_timestamp and not _TIME.fullmatch(metadata.creation_timestamp):
        yield Problem("must be a time as in RFC 3339", "metadata.creationTimestamp")


def _identifier(text: str, path: str) -> Iterator[Problem]:
    if len(text) > MAX_ID or names.printable(text) != text:
        yield Problem(f"must have at most {MAX_ID} characters and no control characters", path)


def _name(spec: Spec) -> Iterator[Problem]:
    if problem := names.unit_problem(spec.unit_name):
        yield Problem(problem, "spec.name")
    elif spec.name.startswith(".") and spec.name[1:] in names.UNIT_TYPES:
        yield Problem("a unit name must not be empty before its suffix", "spec.name")
    elif names.is_own_unit(spec.unit_name):
        yield Problem(
            f"{spec.unit_name} is part of Tambourine and cannot be managed by a manifest",
            "spec.name",
            "`tambourine install` and systemctl manage Tambourine itself",
        )


def _choice_of_nodes(spec: Spec) -> Iterator[Problem]:
    if spec.node_name and spec.node_selector:
        yield Problem("nodeName and nodeSelector are mutually exclusive", "spec.nodeSelector")
    if spec.node_name and (problem := names.object_name_problem(spec.node_name)):
        yield Problem(problem, "spec.nodeName")
    for key, value in spec.node_selector.items():
        if problem := names.label_problem(key, value):
            yield Problem(problem, f"spec.nodeSelector.{key}")


def _command(spec: Spec) -> Iterator[Problem]:
    yield from _identifier(spec.command_id, "spec.commandID")
    if spec.command_id and spec.command is None:
        yield Problem("commandID requires command", "spec.commandID")
    if spec.command is not None and names.is_template(spec.unit_name):
        yield Problem(
            f"{spec.unit_name} is a template: it can be installed, but not commanded",
            "spec.command",
            "name an instance, such as "
            f"{names.prefix(spec.unit_name)}@NAME.{names.unit_type(spec.unit_name)}",
        )


def _too_much(spec: Spec) -> str:
    """Which bound the texts of a unit exceed, or ""."""
    if sum(map(len, spec.texts)) > MAX_TEXT:
        return f"a unit and its drop-ins have at most {MAX_TEXT} characters"
    if sum(text.count("%") for text in spec.texts) > MAX_SPECIFIERS:
        return f"a unit and its drop-ins have at most {MAX_SPECIFIERS} specifiers (%)"
    if sum(text.count("=") for text in spec.texts) > MAX_SETTINGS:
        return f"a unit and its drop-ins have at most {MAX_SETTINGS} settings (=)"
    return ""


def _unit(spec: Spec) -> Iterator[Problem]:
    if spec.unit is None:
        return
    unit = unitfile.parse(spec.unit)
    yield from _unit_text(spec.unit, unit, "spec.unit")
    if not unit.sections:
        yield Problem("a unit must have at least one section, such as [Service]", "spec.unit")
    own = sorted(filter(names.is_own_unit, unitfile.aliases(spec.texts, spec.unit_name)))
    if own:
        yield Problem(f"Alias= or Also= names {own[0]}, which is part of Tambourine", "spec.unit")


def _strange(text: str) -> str:
    """Characters that systemd reads differently from editors."""
    if _LONE_RETURN.search(text):
        return "has a carriage return without a newline"
    if "\ufeff" in text.removeprefix("\ufeff"):
        return "has a byte order mark inside the text"
    return ""


def _unit_text(text: str, unit: UnitFile, path: str) -> Iterator[Problem]:
    for line, what in unit.errors:
        yield Problem(f"line {line}: {what}", path)
    if problem := _strange(text):
        yield Problem(problem, path)
    if unitfile.STAMP in unit.sections or _STAMPED.search(text):
        yield Problem(f"the section [{unitfile.STAMP}] is reserved for Tambourine", path)


def _drop_ins(spec: Spec) -> Iterator[Problem]:
    seen: set[str] = set()
    for index, drop_in in enumerate(spec.drop_ins):
        at = f"spec.dropIns[{index}]"
        yield from _drop_in(drop_in, at)
        if drop_in.name in seen:
            yield Problem(f'duplicate drop-in "{drop_in.name}"', f"{at}.name")
        seen.add(drop_in.name)


def _drop_in(drop_in: DropIn, at: str) -> Iterator[Problem]:
    if problem := names.file_name_problem(drop_in.name):
        yield Problem(problem, f"{at}.name")
    elif not drop_in.name.endswith(".conf") or drop_in.name.startswith("."):
        yield Problem(
            "a drop-in's name must end in .conf and must not begin with a dot", f"{at}.name"
        )
    unit = unitfile.parse(drop_in.content)
    yield from _unit_text(drop_in.content, unit, f"{at}.content")
    if unit.ignored and not unit.sections:
        yield Problem("settings must be in a section, such as [Service]", f"{at}.content")


def _files(spec: Spec) -> Iterator[Problem]:
    seen: set[str] = set()
    for index, file in enumerate(spec.files):
        at = f"spec.files[{index}]"
        yield from _file(file, at)
        if file.path in seen:
            yield Problem(f"duplicate path {file.path}", f"{at}.path")
        seen.add(file.path)
    # Sorted by component, what is below a path follows it at once.
    for above, below in pairwise(sorted(seen, key=lambda path: path.split("/"))):
        if below.startswith(f"{above}/"):
            yield Problem(f"{above} is a file and cannot be a directory of {below}", "spec.files")


def _file(file: File, at: str) -> Iterator[Problem]:
    if problem := names.path_problem(file.path):
        yield Problem(problem, f"{at}.path")
    given = [file.content, file.content_base64, file.content_from]
    if sum(content is not None for content in given) != 1:
        yield Problem("exactly one of content, contentBase64 and contentFrom is required", at)
    if file.content_base64 is not None:
        yield from _base64(file.content_base64, f"{at}.contentBase64")
    if file.content_from is not None:
        if problem := payload_name_problem(file.content_from.silo):
            yield Problem(problem, f"{at}.contentFrom.silo")
        if not _SHA256.fullmatch(file.content_from.sha256):
            yield Problem("must be 64 hexadecimal digits", f"{at}.contentFrom.sha256")
    if not _MODE.fullmatch(file.mode):
        yield Problem("must be 0000 to 0777, in octal", f"{at}.mode", 'write it as "0644"')
    for field, value in (("owner", file.owner), ("group", file.group)):
        if not _USER.fullmatch(value) or (value.isdigit() and int(value) >= (1 << 32) - 1):
            yield Problem(
                f"must be the name or number of a {'user' if field == 'owner' else 'group'}",
                f"{at}.{field}",
            )


def _base64(text: str, path: str) -> Iterator[Problem]:
    try:
        base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        yield Problem(f"not base64: {error}", path)
    else:
        if len(text) % 4:  # Python accepts a missing padding after a complete one
            yield Problem("not base64: groups have four characters", path)


def payload_name_problem(name: str) -> str:
    """What is wrong with the name of a payload, a file beside the manifest."""
    if problem := names.file_name_problem(name):
        return problem
    if name.startswith(".") or name == paths.MANIFEST_FILE:
        return f"a payload must not begin with a dot or be named {paths.MANIFEST_FILE}"
    return ""


def _rollout(spec: Spec) -> Iterator[Problem]:
    bound = spec.rollout.max_unavailable
    good = 1 <= bound <= MAX_NODES if isinstance(bound, int) else _PERCENT.fullmatch(bound)
    if not good:
        yield Problem(
            "must be a positive number of nodes or a percentage such as 25%",
            "spec.rollout.maxUnavailable",
        )
