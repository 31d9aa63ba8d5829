"""`tambourine install`: install Tambourine on this host."""

from __future__ import annotations

from pathlib import Path

import click

from tambourinefs.cli.admin.options import allow_namespace_option, dry_run_option
from tambourinefs.errors import HostError


@click.command()
@click.option(
    "--source",
    type=click.Path(exists=True, path_type=Path),
    help="A source tree or a wheel.  [default: the tree that this command runs from]",
)
@click.option(
    "--wheelhouse",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Install Python packages only from this directory, none from the network.",
)
@allow_namespace_option
@click.option(
    "--kubeconfig",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Join a cluster with this kubeconfig (certificates embedded, or absolute paths); see also `tambourine join`.",
)
@click.option("--node-name", default="", help="The name of the Node.  [default: the host name]")
@click.option(
    "--no-start", is_flag=True, help="Install and enable the services without starting them."
)
@dry_run_option
@click.option(
    "--root",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=Path("/"),
    help="Install into this image: nothing is started, certificates are created when it boots.",
)
@click.option("--packaged", is_flag=True, hidden=True)
def install(
    source: Path | None,
    wheelhouse: Path | None,
    allow_namespaces: tuple[str, ...],
    kubeconfig: Path | None,
    node_name: str,
    no_start: bool,
    dry_run: bool,
    root: Path,
    packaged: bool,
) -> None:
    """Install Tambourine on this host, or update it.

    Creates a Python environment in /opt/tambourine, users, directories and certificates, and starts the daemons. A second
    run changes only what differs: config.toml is kept, and managed services are not touched. On a host where Tambourine is
    installed, --allow-namespace, --kubeconfig and --node-name change only the configuration and need no --source.

    \b
    Examples:
      tambourine install --source ~/tambourine
      tambourine install --wheelhouse /media/wheels
      tambourine install --allow-namespace storage

    \b
    Exit codes: 0 installed, 1 failure, 2 wrong usage.
    """
    from tambourinefs.install import steps
    from tambourinefs.install.environment import PREFIX, source_tree
    from tambourinefs.install.plan import Options

    known = False  # the program that runs is the installed one
    if source is None and wheelhouse is None and not packaged:
        source = source_tree()
        known = source is None and Path(__file__).is_relative_to(PREFIX)
        if known and not (allow_namespaces or kubeconfig or node_name):
            raise HostError(
                "no source to install from: this command is the installed one",
                hint="give --source TREE or --wheelhouse DIR",
            )
    options = Options(
        source=source.resolve() if source else None,
        wheelhouse=wheelhouse.resolve() if wheelhouse else None,
        allow_namespaces=allow_namespaces,
        kubeconfig=kubeconfig.resolve() if kubeconfig else None,
        node_name=node_name,
        start=not no_start,
        dry_run=dry_run,
        packaged=packaged,
        root=root.resolve(),
    )
    steps.install(options, click.echo, known=known)
