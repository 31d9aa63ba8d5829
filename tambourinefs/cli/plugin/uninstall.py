"""`kubectl tambourine uninstall`: all of Tambourine away from a cluster, in the order that leaves no host behind."""

from __future__ import annotations

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


@click.command(short_help="Take Tambourine away from the cluster.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Say what would be removed; change nothing.")
@click.option(
    "--keep-services",
    is_flag=True,
    help="Leave on the hosts what is there, running and unowned (deletionPolicy: orphan).",
)
@click.option(
    "--abandon-nodes",
    is_flag=True,
    help="Go on though a node has not removed its services: they stay on it.",
)
@click.option(
    "--timeout",
    type=Duration(),
    default="10m",
    show_default=True,
    help="How long each step may take, such as 90s or 2m; then exit 1.",
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
    """Take Tambourine away from the cluster: all Tambourines in ALL namespaces, the controller, policies, CRDs, roles.

    In this order: first the Tambourines are deleted, and it waits until every host has stopped and uninstalled its
    services; only then the controller goes, then the policies, the CRDs (annotated, since a policy guards them), roles,
    accounts, Leases, and the namespace that `kubectl apply -k` made, unless others live in it. It asks first.
    Interrupted, or failed half way, run it again: it goes on with what is there.

    On the hosts Tambourine itself stays, with the services of their own command line; what to do there is told at the
    end.

    \b
    Examples:
      kubectl tambourine uninstall --dry-run
      kubectl tambourine uninstall
      kubectl tambourine uninstall --keep-services --yes

    \b
    Exit codes: 0 all is gone, 1 something is left (it says what), 2 wrong usage, 3 your rights do not reach,
    4 the API server cannot be reached.
    """
    from tambourinefs.cli.plugin import departure, removal
    from tambourinefs.errors import NotReady
    from tambourinefs.kube.resources import NODES

    api = target.connect()
    hosts = [removal.name_of(item) for item in removal.items(api, NODES)]
    told = list(_inventory(api, hosts, keep=keep_services))
    if not told:
        click.echo("Nothing of Tambourine is in this cluster.")
        return
    click.echo(
        f"{'Would be removed' if dry_run else 'This removes'} from the cluster at {api.cluster()[0]}:"
    )
    for line in told:
        click.echo(printable(f"  {line}"))
    if dry_run:
        return
    if not yes:
        if not sys.stdin.isatty():
            raise click.UsageError(
                "there is no terminal to ask on: give --yes, or look first with --dry-run"
            )
        click.confirm("Continue?", abort=True)

    def tell(text: str) -> None:
        click.echo(printable(text), err=True)

    departure.remove_services(api, keep=keep_services, timeout=timeout, tell=tell)
    owing = departure.owing_nodes(api)
    if owing and not abandon_nodes:
        raise NotReady(
            f"{removal.some(owing)} did not say that the services are gone: they would stay there unowned",
            hint="bring the node back and run this again, or give --abandon-nodes",
        )
    click.echo("gone: Tambourines, in all namespaces")
    for step in removal.AFTER_SERVICES:
        removal.remove(api, step, timeout=timeout, tell=tell)
        if step is removal.PROGRAMS:
            removal.wait_for_pods(api, timeout=timeout, tell=tell)
            departure.check_none_came_back(api)
        click.echo(f"gone: {step.what}")
    for line in [*kept(api), *farewell(hosts)]:
        click.echo(printable(line))


def _inventory(api: Api, hosts: list[str], *, keep: bool) -> Iterator[str]:
    """What is there, one line each, in the order in which it goes."""
    from tambourinefs.cli.plugin import removal
    from tambourinefs.kube.resources import TAMBOURINES

    services = [removal.name_of(item) for item in removal.items(api, TAMBOURINES)]
    if services:
        where = len({name.partition("/")[0] for name in services})
        effect = (
            "their services stay on the hosts, running and unowned"
            if keep
            else f"THEIR SERVICES ARE STOPPED AND UNINSTALLED on up to {counted(len(hosts), 'node')}"
        )
        said = f"{counted(len(services), 'Tambourine')} in {counted(where, 'namespace')}"
        yield f"{said} ({removal.some(services)}): {effect}"
    for step in removal.AFTER_SERVICES:
        there = {
            resource.kind: [removal.name_of(item) for item in removal.found(api, resource)]
            for resource in step.resources
        }
        told = [f"{kind} {', '.join(names)}" for kind, names in there.items() if names]
        if told:
            yield f"{step.what}: {'; '.join(told)}"


def kept(api: Api) -> list[str]:
    """The namespaces that look like ours and stay, since others live in them."""
    from tambourinefs.cli.plugin import removal
    from tambourinefs.kube.resources import NAMESPACES

    names = [
        removal.name_of(item)
        for item in removal.items(api, NAMESPACES, label_selector=removal.PART_OF)
    ]
    others = {name: removal.others_in(api, name) for name in names}
    return [
        f"kept: namespace {name}, where others live: {removal.some(there)}"
        for name, there in others.items()
        if there
    ]


def farewell(hosts: list[str]) -> list[str]:
    """What is left to do on the hosts."""
    from tambourinefs.cli.plugin import removal

    if not hosts:
        return []
    return [
        f"Tambourine itself is still on the hosts ({removal.some(hosts)}). They no longer have a cluster to ask:",
        "  systemctl disable --now tambourine-sync.service && rm -r /etc/tambourine/kubernetes",
    ]
