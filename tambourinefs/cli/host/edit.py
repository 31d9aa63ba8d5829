"""Read, modify and write a manifest in the silo; by etag, retried on a conflict, so no concurrent edit is lost."""

from __future__ import annotations

import enum
import json
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec

from tambourinefs import timestamps
from tambourinefs.cli.common.goal import Goal
from tambourinefs.cli.host.connection import LOCAL, SILO, manifest_path
from tambourinefs.errors import AlreadyExists, Conflict, InvalidManifest, NotFound

if TYPE_CHECKING:
    from collections.abc import Callable

    from tambourinefs.model.manifest import Manifest
    from tambourinefs.rpc.client import Client

_KUBECTL_NOTE: Final = "kubectl.kubernetes.io/last-applied-configuration"
_ATTEMPTS: Final = 50  # each conflict means that another client made progress


class EditKind(enum.Enum):
    """What an edit did, in kubectl's terms."""

    CREATED = "created"
    CONFIGURED = "configured"
    UNCHANGED = "unchanged"


@dataclass(frozen=True, slots=True)
class StoredManifest:
    """A manifest in the silo. `manifest` is None where the stored one cannot be parsed."""

    manifest: Manifest | None
    etag: str


@dataclass(frozen=True, slots=True)
class Edit:
    """What was done, and the manifest that is in the silo now."""

    kind: EditKind
    manifest: Manifest

    @property
    def goal(self) -> Goal:
        """What to wait for."""
        metadata = self.manifest.metadata
        return Goal(LOCAL, metadata.name, metadata.uid, metadata.generation)


def read_stored(client: Client, name: str) -> StoredManifest | None:
    """The manifest of `local/<name>`; None where there is none.

    Raises Unreachable.
    """
    from tambourinefs.model.manifest import parse_json

    try:
        entry, data = client.read(SILO, manifest_path(name))
    except NotFound:
        return None
    try:
        return StoredManifest(parse_json(data, source=f"{LOCAL}/{name}"), entry.etag)
    except InvalidManifest:
        return StoredManifest(None, entry.etag)


def successor(stored: Manifest | None, wanted: Manifest) -> Manifest:
    """`wanted` as it is stored in the silo: in `local`, with the identity of the manifest that it replaces and the next
    generation. Equal to `stored` where nothing changes. Fields that an API server or kubectl adds are dropped.

    Raises InvalidManifest where it names another unit than the stored manifest.
    """
    metadata = msgspec.structs.replace(
        wanted.metadata,
        namespace=LOCAL,
        uid=stored.metadata.uid if stored else str(uuid.uuid4()),
        generation=stored.metadata.generation if stored else 1,
        creation_timestamp=stored.metadata.creation_timestamp if stored else timestamps.now(),
        annotations={k: v for k, v in wanted.metadata.annotations.items() if k != _KUBECTL_NOTE},
    )
    candidate = msgspec.structs.replace(wanted, metadata=metadata)
    if stored is None:
        return candidate
    _check_unit(stored, candidate)
    return stored if content(candidate) == content(stored) else raised(candidate)


def _check_unit(stored: Manifest, candidate: Manifest) -> None:
    before, after = stored.spec.unit_name, candidate.spec.unit_name
    if before != after:
        name = candidate.metadata.name
        raise InvalidManifest(
            f"the unit of a service is immutable: {before} cannot become {after}",
            source=f"{LOCAL}/{name}",
            field="spec.name",
            hint=f"`tambourine delete {name}` first, or use another metadata.name",
        )


def raised(manifest: Manifest) -> Manifest:
    """The manifest with the next generation."""
    metadata = manifest.metadata
    return msgspec.structs.replace(
        manifest,
        metadata=msgspec.structs.replace(metadata, generation=metadata.generation + 1),
    )


def content(manifest: Manifest) -> object:
    """What a user can change, as plain data: everything but the identity."""
    from tambourinefs.model.manifest import to_json

    plain = json.loads(to_json(manifest))
    for key in ("uid", "generation", "creationTimestamp"):
        plain["metadata"].pop(key, None)
    return plain


def planned(client: Client, wanted: Manifest) -> Edit:
    """What applying `wanted` would do; nothing is written."""
    stored = read_stored(client, wanted.metadata.name)
    before = stored.manifest if stored else None
    after = successor(before, wanted)
    if stored is None:
        return Edit(EditKind.CREATED, after)
    return Edit(EditKind.UNCHANGED if after == before else EditKind.CONFIGURED, after)


def edit(client: Client, name: str, change: Callable[[Manifest | None], Manifest]) -> Edit:
    """Replace the manifest of `local/<name>` by what `change` makes of it (None: there is none, or it cannot be parsed).

    `change` is called again after a conflict. A manifest that it returns unchanged is not written.

    Raises InvalidManifest where the change makes it one, Conflict after repeated conflicts, OutOfSpace, Unreachable.
    """
    from tambourinefs.model.manifest import parse_json, to_json

    for _ in range(_ATTEMPTS):
        stored = read_stored(client, name)
        before = stored.manifest if stored else None
        after = change(before)
        if before is not None and after == before:
            return Edit(EditKind.UNCHANGED, before)
        data = to_json(after)
        parse_json(data, source=f"{LOCAL}/{name}")  # only what can be read back is stored
        try:
            client.write(
                SILO,
                manifest_path(name),
                data,
                if_match=stored.etag if stored else None,
                if_absent=stored is None,
                parents=True,
            )
        except (Conflict, AlreadyExists, NotFound):  # NotFound: a delete took the directory away
            continue
        return Edit(EditKind.CONFIGURED if stored else EditKind.CREATED, after)
    raise Conflict(
        f"tambourine/{name}: another client changed the manifest {_ATTEMPTS} times during this edit",
        hint=f"try again; `tambourine get {name} -o yaml` shows the current manifest",
    )
