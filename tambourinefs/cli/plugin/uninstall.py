"""`kubectl tambourine uninstall`: removes Tambourine from a cluster, after every host has removed its services."""

from __future__ import annotations

import itertools
import sys
from typing import TYPE_CHECKING

import click

from tambourinefs.cli.common.text import Duration, counted
from tambourinefs.cli.plugin.options import target_options
from tambourinefs.cli.plugin.target import ClusterTarget
from tambourinefs.model.names import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tambourinefs.kube.api import Api


@click.command(short_help="Remove Tambourine from the cluster.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask for confirmation.")
@click.option("--dry-run", is_flag=True, help="Print what would be removed; change nothing.")
@click.option(
    "--keep-services",
    is_flag=True,
    help="Keep the services on the hosts running, no longer managed (deletionPolicy: orphan).",
)
@click.option(
    "--abandon-nodes",
    is_flag=True,
    help="Continue even if a node has not removed its services: they stay on it.",
)
@click.option(
    "--timeout",
    type=Duration(),
    default="10m",
    show_default=True,
    help="How long to wait for each step, such as 90s or 2m; then exit 1.",
)
@target_options
def uninstall(
    *,
    yes: bool,
    dry_run: bool,
    keep_services: bool,
    abandon_nodes: bool,
    timeout: float,
    target: ClusterTarget,
) -> None:
    """Remove Tambourine from the cluster: all Tambourines in ALL namespaces, the controller, policies, CRDs, roles.

    First deletes all Tambourines and waits until every host has stopped and uninstalled its services. Then removes the
    controller, the policies, the CRDs (annotated, because a policy protects them), roles, service accounts, Leases, and
    the namespace that `kubectl apply -k` created, unless something else is in it. Asks for confirmation. If interrupted,
    run it again: it continues.

    Tambourine itself stays on the hosts, with the services of namespace local; the last lines print what to do there.

    \b
    Examples:
      kubectl tambourine uninstall --dry-run
      kubectl tambourine uninstall
      kubectl tambourine uninstall --keep-services --yes

    \b
    Exit codes: 0 removed, 1 incomplete (prints what is left), 2 wrong usage, 3 forbidden,
    4 the API server cannot be reached.
    """
    from tambourinefs.cli.plugin import departure, removal
    from tambourinefs.errors import Incomplete
    from tambourinefs.kube.resources import NODES

    api = target.connect()
    hosts = [removal.name_of(item) for item in removal.items(api, NODES)]
    inventory = list(_inventory(api, hosts, keep=keep_services))
    if not inventory:
        click.echo("Tambourine is not installed in this cluster.")
        return
    click.echo(
        f"{'Would be removed' if dry_run else 'This removes'} from the cluster at {api.cluster()[0]}:"
    )
    for line in inventory:
        click.echo(printable(f"  {line}"))
    if dry_run:
        return
    if not yes:
        if not sys.stdin.isatty():
            raise click.UsageError(
                "cannot ask for confirmation without a terminal: give --yes, or use --dry-run first"
            )
        click.confirm("Continue?", abort=True)

    _show(departure.remove_services(api, keep=keep_services, timeout=timeout))
    owing = departure.owing_nodes(api)
    if owing and not abandon_nodes:
        raise Incomplete(
            f"{removal.some(owing)}: removal of services not acknowledged; they would stay there, no longer managed",
            hint="bring the node back and run this again, or give --abandon-nodes",
        )
    click.echo("removed: Tambourines, in all namespaces")
    for step in removal.AFTER_SERVICES:
        _show(removal.remove(api, step, timeout=timeout))
        if step is removal.PROGRAMS:
            _show(removal.wait_for_pods(api, timeout=timeout))
            departure.check_none_came_back(api)
        click.echo(f"removed: {step.what}")
    for line in [*kept(api), *farewell(hosts)]:
        click.echo(printable(line))


def _show(progress: Iterator[str]) -> None:
    """Print each message that differs from the one before."""
    for text, _ in itertools.groupby(progress):
        click.echo(printable(text), err=True)


def _inventory(api: Api, hosts: list[str], *, keep: bool) -> Iterator[str]:
    """What exists, one line each, in the order of removal."""
    from tambourinefs.cli.plugin import removal
    from tambourinefs.kube.resources import TAMBOURINES

    services = [removal.name_of(item) for item in removal.items(api, TAMBOURINES)]
    if services:
        where = len({name.partition("/")[0] for name in services})
        effect = (
            "their services keep running on the hosts, no longer managed"
            if keep
            else f"THEIR SERVICES ARE STOPPED AND UNINSTALLED on up to {counted(len(hosts), 'node')}"
        )
        subject = f"{counted(len(services), 'Tambourine')} in {counted(where, 'namespace')}"
        yield f"{subject} ({removal.some(services)}): {effect}"
    for step in removal.AFTER_SERVICES:
        there = {
            resource.kind: [removal.name_of(item) for item in removal.found(api, resource)]
            for resource in step.resources
        }
        named = [f"{kind} {', '.join(names)}" for kind, names in there.items() if names]
        if named:
            yield f"{step.what}: {'; '.join(named)}"


def kept(api: Api) -> list[str]:
    """Namespaces of Tambourine that stay, because something else is in them."""
    from tambourinefs.cli.plugin import removal
    from tambourinefs.kube.resources import NAMESPACES

    names = [
        removal.name_of(item)
        for item in removal.items(api, NAMESPACES, label_selector=removal.PART_OF)
    ]
    others = {name: removal.others_in(api, name) for name in names}
    return [
        f"kept: namespace {name}, which also contains {removal.some(there)}"
        for name, there in others.items()
        if there
    ]


def farewell(hosts: list[str]) -> list[str]:
    """What is left to do on the hosts."""
    from tambourinefs.cli.plugin import removal

    if not hosts:
        return []
    return [
        f"Tambourine is still installed on the hosts ({removal.some(hosts)}). Disconnect each from the cluster:",
        "  systemctl disable --now tambourine-sync.service && rm -r /etc/tambourine/kubernetes",
    ]
