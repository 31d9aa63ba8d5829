"""The daemons that talk to an API server: `tambourine sync` on a host, `tambourine controller` in the cluster."""

from __future__ import annotations

from pathlib import Path

import click

from tambourinefs.cli.admin.options import config_option, log_level_option
from tambourinefs.model import cluster, names, paths

_kubeconfig = click.option(
    "--kubeconfig",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Path to the kubeconfig file; reloaded when it changes.  [default: the pod's service account]",
)
_lease_namespace = click.option(
    "--lease-namespace",
    default=cluster.LEASE_NAMESPACE,
    show_default=True,
    help="The namespace of the nodes' Leases.",
)
_address = click.option(
    "--health-address",
    default="",
    metavar="HOST:PORT",
    help="The address to serve /healthz, /readyz and /metrics on.",
)


def _namespaces(
    _ctx: click.Context, _param: click.Parameter, value: tuple[str, ...]
) -> tuple[str, ...]:
    for name in value:
        if problem := names.namespace_problem(name):
            raise click.BadParameter(f"{name!r}: {problem}")
    return value


@click.command()
@click.option(
    "--kubeconfig",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Path to the kubeconfig file.  [default: cluster.kubeconfig, or the pod's service account]",
)
@click.option("--node-name", help="The name of this Node.  [default: cluster.node_name]")
@config_option
@click.option(
    "--lock",
    type=click.Path(dir_okay=False, path_type=Path),
    default=str(paths.SYNC_LOCK),
    show_default=True,
    help="The lock file that prevents a second sync on the node.",
)
@click.option(
    "--lease-namespace",
    help="The namespace of the nodes' Leases.  [default: cluster.lease_namespace]",
)
@_address
@log_level_option
def sync(
    kubeconfig: Path | None,
    node_name: str | None,
    config_file: str,
    lock: Path,
    lease_namespace: str | None,
    health_address: str,
    log_level: str,
) -> None:
    """Copy this node's assignments from the cluster to Bombshell, and its statuses back.

    Only assignments of allowed namespaces (agent.namespaces) are copied. While the API server cannot be reached, services
    stay as they are. A service whose assignment disappears is kept: only an assignment with state absent removes it.
    """
    import socket

    from tambourinefs.configfile import load
    from tambourinefs.daemon import configure_logging
    from tambourinefs.processes import sync as process

    configure_logging(log_level)
    config = load(config_file).config
    configured = Path(config.cluster.kubeconfig)
    process.main(
        config,
        kubeconfig=kubeconfig or (configured if configured.exists() else None),
        node=node_name or config.cluster.node_name or socket.gethostname(),
        lease_namespace=lease_namespace or config.cluster.lease_namespace,
        lock=lock,
        address=health_address,
    )


@click.command()
@_kubeconfig
@click.option(
    "--namespace",
    "namespaces",
    multiple=True,
    metavar="NAMESPACE",
    callback=_namespaces,
    help="Manage only Tambourines of this namespace; may be repeated.  [default: all]",
)
@click.option(
    "--leader-namespace",
    default="tambourine-system",
    show_default=True,
    help="The namespace of the leader's Lease: the controller's own.",
)
@click.option(
    "--deletion-deadline",
    type=click.FloatRange(0, 86400),
    default=cluster.TOMBSTONE_DEADLINE,
    show_default=True,
    metavar="SECONDS",
    help="How long a deletion waits for lost nodes; they remove the service when they return.",
)
@_lease_namespace
@_address
@log_level_option
def controller(
    kubeconfig: Path | None,
    namespaces: tuple[str, ...],
    leader_namespace: str,
    deletion_deadline: float,
    lease_namespace: str,
    health_address: str,
    log_level: str,
) -> None:
    """Assign Tambourines to nodes, and summarise their statuses.

    Of several replicas, the holder of the Lease tambourine-controller is active. A leader that cannot renew it exits.
    """
    from tambourinefs.daemon import configure_logging
    from tambourinefs.processes import controller as process

    configure_logging(log_level)
    process.main(
        kubeconfig=kubeconfig,
        namespaces=namespaces,
        leader_namespace=leader_namespace,
        deadline=deletion_deadline,
        lease_namespace=lease_namespace,
        address=health_address,
    )
