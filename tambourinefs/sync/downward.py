"""From assignments to manifests in the silo: what to write, what to remove, what is done. Pure.

Absence is never an order: what no assignment speaks of stays and is reported.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import msgspec

from tambourinefs.model import cluster
from tambourinefs.model.cluster import ABSENT, INSTALLED, RELEASED, Acknowledged, Assignment
from tambourinefs.model.names import NamespacedName
from tambourinefs.model.schema import Manifest
from tambourinefs.model.status import StatusReport


@dataclass(slots=True)
class Orders:
    """What to do now; what must wait is found again at the next look."""

    install: list[Assignment] = field(default_factory=list)
    rewrite: list[Manifest] = field(default_factory=list)  # of a released one, as an orphan
    remove: list[NamespacedName] = field(default_factory=list)
    acknowledged: tuple[Acknowledged, ...] = ()
    unlisted: tuple[str, ...] = ()
    refused: dict[NamespacedName, str] = field(
        default_factory=dict
    )  # why an assignment is not carried out


def orders(
    assignments: Iterable[Assignment],
    held: Mapping[NamespacedName, Manifest],
    reports: Mapping[NamespacedName, StatusReport],
    namespaces: tuple[str, ...],
) -> Orders:
    """`held`: the cluster's manifests in the silo; `reports`: what the agent says; `namespaces`: that the host allows."""
    found, listed, done = Orders(), set(), []
    wanted = {
        (item.namespace, item.name): item.uid for item in assignments if item.state == INSTALLED
    }
    for item in assignments:
        key = (item.namespace, item.name)
        listed.add(item.uid)
        mine = held.get(key)
        if item.state == INSTALLED:
            _install(found, item, mine, reports.get(key), namespaces)
        elif mine is None or mine.metadata.uid != item.uid:
            report = reports.get(key)
            if report is None or report.uid != item.uid:  # the agent has carried it out
                done.append(
                    Acknowledged(uid=item.uid, generation=item.generation, state=item.state)
                )
        elif wanted.get(key, item.uid) != item.uid:
            continue  # made again under its name: the new one is written over it, and the agent keeps what is the same
        elif mine.metadata.generation > item.generation:
            found.refused[key] = _older(item, mine)
        elif item.state == ABSENT:
            found.remove.append(key)
        else:
            _release(found, item, mine, reports.get(key))
    found.acknowledged = tuple(done)
    found.unlisted = tuple(
        sorted(
            f"{ns}/{name}" for (ns, name), mine in held.items() if mine.metadata.uid not in listed
        )
    )
    return found


def _install(
    found: Orders,
    item: Assignment,
    mine: Manifest | None,
    report: StatusReport | None,
    namespaces: tuple[str, ...],
) -> None:
    key = (item.namespace, item.name)
    if not cluster.allows(namespaces, item.namespace):
        found.refused[key] = f"this host does not allow namespace {item.namespace}"
    elif mine is not None and mine.metadata.uid != item.uid:
        found.install.append(item)  # another object under its name, or another cluster's
    elif mine is None and report is not None and report.uid not in {"", item.uid}:
        return  # the agent still removes the one before
    elif mine is not None and mine.metadata.generation > item.generation:
        found.refused[key] = _older(item, mine)
    elif mine is None or not _is_same(item, mine):
        found.install.append(item)


def _is_same(item: Assignment, mine: Manifest) -> bool:
    """By generation and command: a revision is content by digest, and a generation has one content."""
    return (
        mine.metadata.generation == item.generation
        and (mine.spec.command or "") == item.command
        and mine.spec.command_id == item.command_id
        and mine.spec.state == item.spec_state
    )


def _release(found: Orders, item: Assignment, mine: Manifest, report: StatusReport | None) -> None:
    """Let the agent see first that it is an orphan: then its removal touches nothing."""
    if mine.spec.deletion_policy != "orphan":
        metadata = msgspec.structs.replace(mine.metadata, generation=item.generation)
        spec = msgspec.structs.replace(mine.spec, deletion_policy="orphan")
        found.rewrite.append(msgspec.structs.replace(mine, metadata=metadata, spec=spec))
    elif report is not None and report.observed_generation >= mine.metadata.generation:
        found.remove.append((item.namespace, item.name))


def _older(item: Assignment, mine: Manifest) -> str:
    return (
        f"generation {item.generation} is older than {mine.metadata.generation}, which is on the host: "
        "the cluster was restored from a backup? Edit the Tambourine to go on"
    )


__all__ = ["ABSENT", "INSTALLED", "RELEASED", "Orders", "orders"]
