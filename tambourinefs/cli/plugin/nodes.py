"""`kubectl tambourine nodes`: which nodes have an agent, its version, allowed namespaces and last heartbeat."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from tambourinefs.cli.common.text import age, table
from tambourinefs.cli.plugin.options import target_options
from tambourinefs.cli.plugin.target import ClusterTarget
from tambourinefs.model.cluster import NODE_LOST_AFTER, lease_name
from tambourinefs.model.names import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tambourinefs.kube.api import Api, Object
    from tambourinefs.kube.resources import Resource

COLUMNS = ("NODE", "READY", "VERSION", "NAMESPACES", "SERVICES", "HEARTBEAT")
NO_AGENT = "no agent"


@click.command(short_help="List nodes: agent, version, allowed namespaces, last heartbeat.")
@click.option(
    "--lease-namespace",
    default="kube-node-lease",
    show_default=True,
    metavar="NAMESPACE",
    help="The namespace of the nodes' Leases.",
)
@target_options
def nodes(*, lease_namespace: str, target: ClusterTarget) -> None:
    """List the nodes of the cluster: agent version, allowed namespaces, number of services, last heartbeat.

    A host accepts Tambourines only from namespaces that its administrator allows (`tambourine install
    --allow-namespace storage`). HEARTBEAT is the age of the node's Lease by the clock of this machine; an agent renews it
    every 10 s, and a node without a heartbeat for 40 s counts as lost.

    \b
    Examples:
      kubectl tambourine nodes
      kubectl get tambourinenodes -o yaml     show everything that the nodes report

    \b
    Exit codes: 0 listed, 3 forbidden, 4 the API server cannot be reached.
    """
    from tambourinefs.cli.plugin.objects import no_tambourine
    from tambourinefs.errors import NotFound
    from tambourinefs.kube.resources import CORE_NODES, LEASES, NODES

    api = target.connect()
    try:
        members = _all(api, NODES)
    except NotFound as error:
        raise no_tambourine() from error
    leases = _readable(api, LEASES, lease_namespace, "heartbeats")
    cores = _readable(api, CORE_NODES, "", "nodes without an agent")
    lines = rows(members, leases, cores, datetime.now(UTC))
    if not lines:
        click.echo("No nodes found. To join one, see `kubectl tambourine join --help`.", err=True)
        return
    for line in table([COLUMNS, *lines]):
        click.echo(line)


def rows(
    members: Iterable[Object], leases: Iterable[Object], cores: Iterable[Object], now: datetime
) -> list[list[str]]:
    """One line for each node, sorted by name; nodes without an agent included."""
    beats = {item["metadata"]["name"]: item.get("spec") or {} for item in leases}
    found = {}
    for member in members:
        name = member["metadata"]["name"]
        beat = str(beats.get(lease_name(name), {}).get("renewTime") or "")
        found[name] = _row(member, _heard(beat, now))
    for core in cores:
        name = core["metadata"]["name"]
        found.setdefault(name, [name, NO_AGENT, "", "", "", ""])
    return [[printable(cell) for cell in found[name]] for name in sorted(found)]


def _heard(renewed: str, now: datetime) -> str:
    """The age of a heartbeat; whether it is late, by this machine's clock, which may differ from the node's."""
    text = age(renewed, now)
    try:
        late = (now - datetime.fromisoformat(renewed)).total_seconds() > NODE_LOST_AFTER
    except (ValueError, TypeError):  # none, or a time without a zone
        return text
    return f"{text}, late" if late else text


def _row(member: Object, beat: str) -> list[str]:
    status = member.get("status") or {}
    assignments = (member.get("spec") or {}).get("assignments") or []
    return [
        member["metadata"]["name"],
        _ready(status.get("conditions") or []),
        str(status.get("version") or ""),
        ",".join(map(str, status.get("namespaces") or [])) or "none",
        str(sum(item.get("state", "installed") == "installed" for item in assignments)),
        beat,
    ]


def _ready(conditions: Sequence[dict[str, Any]]) -> str:
    """`True`, or the status and why, such as `Unknown/NodeLost`."""
    found = next((item for item in conditions if item.get("type") == "Ready"), None)
    if found is None:
        return "Unknown"
    return (
        "True" if found.get("status") == "True" else f"{found.get('status')}/{found.get('reason')}"
    )


def _readable(api: Api, resource: Resource, namespace: str, what: str) -> list[Object]:
    """All of them; none, with a message, where the user may not list them."""
    from tambourinefs.errors import RefusedByPolicy

    try:
        return _all(api, resource, namespace)
    except RefusedByPolicy as error:
        click.echo(f"cannot show {what}: {error}", err=True)
        return []


def _all(api: Api, resource: Resource, namespace: str = "") -> list[Object]:
    return [item for page in api.list_pages(resource, namespace) for item in page.items]
