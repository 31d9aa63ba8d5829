"""What nodes report of a service as text, laid out as `systemctl status` does it. Pure.

Every value comes from a node, which this machine need not trust: all pass through `printable`.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Final

from tambourinefs.cli.common.text import condition_lines, indent
from tambourinefs.model.names import printable
from tambourinefs.procfs.render.status_text import glyph
from tambourinefs.procfs.render.times import relative

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tambourinefs.cli.plugin.objects import TambourineObject
    from tambourinefs.model import cluster
    from tambourinefs.model.status import Condition

_LABEL: Final = 11  # columns before the colon, as systemctl has it
_BELOW: Final = " " * (_LABEL + 2)


def whole(
    service: TambourineObject, instances: Sequence[cluster.Instance], now: datetime, lines: int
) -> list[str]:
    """The Tambourine, its conditions that are not True, and each node; at most `lines` of each journal."""
    found = [*heading(service)]
    for instance in instances:
        found += ["", *of_node(instance, now, lines, service.metadata.generation)]
    return found


def heading(service: TambourineObject) -> list[str]:
    """Name, unit and how many nodes are ready; then the conditions that are not True."""
    metadata, status = service.metadata, service.status
    counts = (
        f"{status.ready} nodes ready" if status.ready else "the controller has not observed it yet"
    )
    unit = status.unit or str(service.spec.get("name", ""))
    head = f"{service.label} in namespace {metadata.namespace}: {unit}, {counts}"
    if metadata.deletion_timestamp:
        head += ", being deleted"
    elif status.ready and status.observed_generation < metadata.generation:
        head += f" (generation {status.observed_generation} of {metadata.generation})"
    return [printable(head), *indent(_untrue(status.conditions))]


def of_node(
    instance: cluster.Instance, now: datetime, lines: int, generation: int = 0
) -> list[str]:
    """The node's name, the unit's values, the reason, the conditions that are not True, the journal of the failed run.

    `generation` is the Tambourine's, which a node that the rollout has not reached does not have yet.
    """
    status = instance.status
    head = instance.spec.node_name
    if 0 < status.observed_generation < generation:
        head += f" (has generation {status.observed_generation} of {generation})"
    found = [printable(head), *values(instance, now)]
    if status.reason:
        found += labelled("Reason", status.reason)
    untrue = _untrue(status.conditions)
    if untrue:
        found += ["", *indent(untrue)]
    if not status.conditions:
        found += ["", "  the node has not reported it yet"]
    if status.journal and lines:
        found += ["", *indent(printable(line, keep="\t") for line in status.journal[-lines:])]
    return found


def values(instance: cluster.Instance, now: datetime) -> list[str]:
    """As `systemctl status` prints them, with the age by this machine's clock."""
    status = instance.status
    head = status.systemd_name or instance.spec.unit
    found = [f"{glyph(status.active_state)} {printable(head)}"]
    for label, value in (
        ("Loaded", status.loaded),
        ("Drop-In", status.drop_in),
        ("Active", active(status, now)),
        ("Docs", status.docs),
        ("Main PID", status.pid),
        ("Tasks", status.tasks),
        ("Memory", status.memory),
        ("CGroup", status.cgroup),
    ):
        found += labelled(label, value)
    return found


def active(status: cluster.Observed, now: datetime) -> str:
    """`active (running) since …; 1 day 21h ago`: the cluster keeps no age, since it would go stale."""
    if " since " not in status.active or not status.since:
        return status.active
    try:
        since = datetime.fromisoformat(status.since)
    except ValueError:
        return status.active
    return f"{status.active}; {relative(_usec(since), _usec(now))}"


def labelled(label: str, value: str) -> list[str]:
    """The label once, further lines below the first; no line for an empty value."""
    if not value:
        return []
    head, *rest = (printable(line) for line in value.split("\n"))
    return [f"{label:>{_LABEL}}: {head}", *(_BELOW + line for line in rest)]


def _untrue(conditions: Iterable[Condition]) -> list[str]:
    return condition_lines([condition for condition in conditions if condition.status != "True"])


def _usec(time: datetime) -> int:
    return int(time.timestamp() * 1_000_000)
