"""From assignments to changes of the silo: what to write, what to remove, what has been carried out. Pure.

Absence is never an order: a manifest without an assignment stays and is reported as unlisted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import msgspec

from tambourinefs.model import cluster
from tambourinefs.model.cluster import ABSENT, INSTALLED, Acknowledged, Assignment
from tambourinefs.model.names import NamespacedName
from tambourinefs.model.schema import Manifest
from tambourinefs.model.status import StatusReport


@dataclass(slots=True)
class SiloChanges:
    """What to do now; what has to wait is found again by the next step."""

    install: list[Assignment] = field(default_factory=list)
    rewrite: list[Manifest] = field(default_factory=list)  # of a released one, as an orphan
    remove: list[NamespacedName] = field(default_factory=list)
    acknowledged: tuple[Acknowledged, ...] = ()
    unlisted: tuple[str, ...] = ()
    refused: dict[NamespacedName, str] = field(default_factory=dict)  # why it is not carried out


def silo_changes(
    assignments: Iterable[Assignment],
    manifests: Mapping[NamespacedName, Manifest],
    reports: Mapping[NamespacedName, StatusReport],
    namespaces: tuple[str, ...],
) -> SiloChanges:
    """`manifests`: the cluster's, in the silo; `reports`: the agent's; `namespaces`: those that the host allows."""
    found, listed, done = SiloChanges(), set(), []
    wanted = {item.key: item.uid for item in assignments if item.state == INSTALLED}
    for item in assignments:
        listed.add(item.uid)
        current, report = manifests.get(item.key), reports.get(item.key)
        if item.state == INSTALLED:
            _install(found, item, current, report, namespaces)
        elif current is None or current.metadata.uid != item.uid:
            if report is None or report.uid != item.uid:  # the agent has carried it out
                done.append(
                    Acknowledged(uid=item.uid, generation=item.generation, state=item.state)
                )
        elif wanted.get(item.key, item.uid) != item.uid:
            continue  # recreated under its name: it is overwritten, and the agent keeps what is equal
        elif current.metadata.generation > item.generation:
            found.refused[item.key] = _older(item, current)
        elif item.state == ABSENT:
            found.remove.append(item.key)
        else:
            _release(found, item, current, report)
    found.acknowledged = tuple(done)
    found.unlisted = tuple(
        sorted("/".join(key) for key, one in manifests.items() if one.metadata.uid not in listed)
    )
    return found


def _install(
    found: SiloChanges,
    item: Assignment,
    current: Manifest | None,
    report: StatusReport | None,
    namespaces: tuple[str, ...],
) -> None:
    if not cluster.allows_namespace(namespaces, item.namespace):
        found.refused[item.key] = f"this host does not allow namespace {item.namespace}"
    elif current is not None and current.metadata.uid != item.uid:
        found.install.append(item)  # another object had its name, in this cluster or another
    elif current is None and report is not None and report.uid not in {"", item.uid}:
        return  # the agent is still removing the object that had its name
    elif current is not None and current.metadata.generation > item.generation:
        found.refused[item.key] = _older(item, current)
    elif current is None or not _is_same(item, current):
        found.install.append(item)


def _is_same(item: Assignment, current: Manifest) -> bool:
    """By generation and command: a generation has one content."""
    return (
        current.metadata.generation == item.generation
        and (current.spec.command or "") == item.command
        and current.spec.command_id == item.command_id
        and current.spec.state == item.spec_state
    )


def _release(
    found: SiloChanges, item: Assignment, current: Manifest, report: StatusReport | None
) -> None:
    """The agent has to read first that it is an orphan: then removing its manifest removes nothing else."""
    if current.spec.deletion_policy != "orphan":
        metadata = msgspec.structs.replace(current.metadata, generation=item.generation)
        spec = msgspec.structs.replace(current.spec, deletion_policy="orphan")
        found.rewrite.append(msgspec.structs.replace(current, metadata=metadata, spec=spec))
    elif report is not None and report.observed_generation >= current.metadata.generation:
        found.remove.append(item.key)


def _older(item: Assignment, current: Manifest) -> str:
    return (
        f"generation {item.generation} is older than generation {current.metadata.generation} on the host, as after "
        "the cluster was restored from a backup; edit the Tambourine to continue"
    )
