"""Which manifest owns which name on this host. Pure.

Unit names belong to the host, Tambourines to a namespace, so two can claim one name. The recorded
owner keeps it; among those that were never applied: `local`, then the older, then by name. The
others change nothing on the host.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tambourinefs.model import manifest as manifests

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tambourinefs.agent.state.record import Claim
    from tambourinefs.model.manifest import Manifest
    from tambourinefs.model.names import NamespacedName


def claims(manifest: Manifest) -> tuple[Claim, ...]:
    """What one manifest on a host owns alone: unit names (Alias= and Also= count), drop-ins, files."""
    units = [f"unit {name}" for name in manifests.names_claimed(manifest)]
    drop_ins = [f"drop-in {unit}.d/{name}" for unit, name in manifests.drop_ins_claimed(manifest)]
    files = [f"file {file.path}" for file in manifest.spec.files]
    return tuple(sorted([*units, *drop_ins, *files]))


def precedence(manifest: Manifest) -> tuple[bool, bool, str, str, str]:
    """Order of those that were never applied: `local`, then the older (without a date: last), then by
    name.
    """
    meta = manifest.metadata
    return (
        meta.namespace != "local",
        not meta.creation_timestamp,
        meta.creation_timestamp,
        meta.namespace,
        meta.name,
    )


def owners(
    recorded: Mapping[Claim, NamespacedName],
    waiting: Mapping[NamespacedName, tuple[Manifest, tuple[Claim, ...]]],
) -> dict[Claim, NamespacedName]:
    """The owner of each name: as recorded, then `waiting` (with their claims) in order of precedence,
    each all or nothing.
    """
    taken = dict(recorded)
    for key, (_, wanted) in sorted(waiting.items(), key=lambda item: precedence(item[1][0])):
        if all(taken.get(claim, key) == key for claim in wanted):
            taken.update(dict.fromkeys(wanted, key))
    return taken


def conflict(
    key: NamespacedName, wanted: Iterable[Claim], taken: Mapping[Claim, NamespacedName]
) -> tuple[Claim, NamespacedName] | None:
    """The first name that another manifest owns, and its owner; None: all are free or its own."""
    for claim in wanted:
        owner = taken.get(claim, key)
        if owner != key:
            return claim, owner
    return None
