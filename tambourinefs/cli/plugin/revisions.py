"""A Tambourine's revisions in order, and the edit that applies one again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from tambourinefs.errors import HostError, InvalidInput, InvalidManifest, NotFound
from tambourinefs.kube.resources import REVISIONS
from tambourinefs.model import cluster, manifest
from tambourinefs.model.names import printable
from tambourinefs.model.schema import API_VERSION, KIND

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tambourinefs.cli.plugin.objects import TambourineObject
    from tambourinefs.kube.api import Api

# Of the spec what a revision holds, by its name on the wire; the unit's name cannot change.
CONTENT: Final = ("unit", "dropIns", "files", "enabled", "onChange", "deletionPolicy")
_LEAST_DIGITS: Final = 4


def read_revisions(api: Api, service: TambourineObject) -> list[cluster.Revision]:
    """Those of this Tambourine, oldest first. Raises Forbidden, Unreachable."""
    found = []
    for page in api.list_pages(REVISIONS, service.metadata.namespace):
        for item in page.items:
            try:
                revision = msgspec.convert(item, cluster.Revision)
            except msgspec.ValidationError:
                continue  # of another release
            owners = [owner.get("uid") for owner in revision.metadata.owner_references]
            if service.metadata.uid in owners:
                found.append(revision)
    return sorted(found, key=_age)


def _age(revision: cluster.Revision) -> tuple[str, int]:
    """Creation time in seconds; within one second by resourceVersion, which only grows."""
    version = revision.metadata.resource_version
    return revision.metadata.creation_timestamp, int(version) if version.isdecimal() else 0


def digest_of(service: TambourineObject) -> str:
    """The digest of the content in the spec; "" where this release cannot read the spec."""
    metadata = {"name": service.metadata.name, "namespace": service.metadata.namespace}
    item = {"apiVersion": API_VERSION, "kind": KIND, "metadata": metadata, "spec": service.spec}
    try:
        parsed = manifest.parse_json(msgspec.json.encode(item), source=service.label)
    except InvalidManifest:
        return ""
    return manifest.content_digest(parsed)


def current(
    service: TambourineObject, revisions: Sequence[cluster.Revision]
) -> cluster.Revision | None:
    """The revision of the spec; None while the controller has not created it."""
    digest = digest_of(service)
    return next((r for r in revisions if r.spec.digest == digest), None)


def chosen(
    service: TambourineObject, revisions: Sequence[cluster.Revision], name: str
) -> cluster.Revision:
    """The revision with that name or the first digits of its digest; "": the newest that is not current.

    Raises NotFound, InvalidInput where several fit.
    """
    history = f"kubectl tambourine history {service.metadata.name} -n {service.metadata.namespace}   lists revisions"
    if not name:
        digest = digest_of(service)
        others = [r for r in revisions if r.spec.digest != digest]
        if not others:
            raise NotFound(
                f"{service.label} has no revision other than the current one", hint=history
            )
        return others[-1]
    fits = [
        r
        for r in revisions
        if r.metadata.name == name
        or (len(name) >= _LEAST_DIGITS and r.spec.digest.startswith(name))
    ]
    if len(fits) > 1:
        raise InvalidInput(
            f'"{name}" is ambiguous: {len(fits)} revisions match; give more digits', hint=history
        )
    if not fits:
        raise NotFound(f'{service.label} has no revision "{printable(name)}"', hint=history)
    return fits[0]


def content(revision: cluster.Revision) -> dict[str, Any]:
    """Its content as fields of a spec. Raises HostError where it does not match its digest."""
    assignment = cluster.Assignment(
        uid=revision.metadata.uid,
        namespace=revision.metadata.namespace,
        name=revision.spec.tambourine,
        generation=0,
    )
    made = cluster.manifest_of(assignment, revision.spec.content)
    if manifest.content_digest(made) != revision.spec.digest:
        raise HostError(f"revision {revision.metadata.name}: content does not match its digest")
    plain = cluster.to_dict(revision.spec.content)
    return {key: plain[key] for key in CONTENT if key in plain}


def difference(service: TambourineObject, revision: cluster.Revision) -> dict[str, Any]:
    """The merge patch (RFC 7386: None removes) that makes the spec's content the revision's; empty where it is that."""
    wanted = content(revision)
    if digest_of(service) == revision.spec.digest:
        return {}
    return {key: wanted.get(key) for key in CONTENT if key in service.spec or key in wanted}
