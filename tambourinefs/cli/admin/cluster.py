"""The daemons that speak with a cluster: `tambourine sync` on a host, `tambourine controller` in the cluster."""

from __future__ import annotations

from pathlib import Path

import click

from tambourinefs.model import cluster, names, paths

_kubeconfig = click.option(
    "--kubeconfig",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Who we are at the API server; read again when it changes.  [default: the pod's service account]",
)
_lease_namespace = click.option(
    "--lease-namespace",
    default=cluster.LEASE_NAMESPACE,
    show_default=True,
    help="Where the nodes' Leases are.",
)
_address = click.option(
    "--health-address",
    default="",
    metavar="HOST:PORT",
    help="Serve /healthz, /readyz and /metrics there.",
)


def _namespaces(
    _ctx: click.Context, _param: click.Parameter, value: tuple[str, ...]
) -> tuple[str, ...]:
    for name in value:
        if problem := names.namespace_problem(name):
            raise click.BadParameter(f"{name!r}: {problem}")
    return value


_level = click.option(
    "--log-level", type=click.Choice(["debug", "info", "warning", "error"]), default="info"
)


@click.command()
@click.option(
    "--kubeconfig",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Who we are at the API server.  [default: cluster.kubeconfig, or else the pod's service account]",
)
@click.option("--node-name", help="This node's name in the cluster.  [default: cluster.node_name]")
@click.option(
    "--config",
    "config_file",
    type=click.Path(dir_okay=False),
    default=str(paths.CONFIG),
    show_default=True,
    help="The host's configuration: which namespaces it respects, where Bombshell is.",
)
@click.option(
    "--lock",
    type=click.Path(dir_okay=False, path_type=Path),
    default=str(paths.SYNC_LOCK),
    show_default=True,
    help="A second sync on the node is refused by this file.",
)
@click.option(
    "--lease-namespace",
    help="Where the nodes' Leases are.  [default: cluster.lease_namespace]",
)
@_address
@_level
def sync(
    kubeconfig: Path | None,
    node_name: str | None,
    config_file: str,
    lock: Path,
    lease_namespace: str | None,
    health_address: str,
    log_level: str,
) -> None:
    """Carry this node's assignments from the cluster to Bombshell, and its statuses back.

    Only what the host's configuration respects (agent.namespaces) is carried. Without the cluster the host goes on as
    it is; what is not assigned any more is kept until an assignment says that it shall be absent.
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
    help="Watch Tambourines of this namespace alone (several: give it again).  [default: all]",
)
@click.option(
    "--leader-namespace",
    default="tambourine-system",
    show_default=True,
    help="Where the Lease of the leader is: the controller's own namespace.",
)
@click.option(
    "--deletion-deadline",
    type=click.FloatRange(0, 86400),
    default=cluster.TOMBSTONE_DEADLINE,
    show_default=True,
    metavar="SECONDS",
    help="How long a deletion waits for nodes that are away; they remove the service when they are back.",
)
@_lease_namespace
@_address
@_level
def controller(
    kubeconfig: Path | None,
    namespaces: tuple[str, ...],
    leader_namespace: str,
    deletion_deadline: float,
    lease_namespace: str,
    health_address: str,
    log_level: str,
) -> None:
    """Decide which node shall have which Tambourine, and sum up what became of it.

    Of several, one works: the holder of the Lease tambourine-controller. One that cannot renew it ends at once.
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
