"""`tambourine install`: put Tambourine on this host."""

from __future__ import annotations

from pathlib import Path

import click

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
    help="Take every Python package from this directory, nothing from the network.",
)
@click.option(
    "--respect",
    multiple=True,
    metavar="NAMESPACE",
    help='Obey this Kubernetes namespace too ("*": all; several: give it again), besides those that are obeyed already. '
    "Who may write there is root here.",
)
@click.option(
    "--kubeconfig",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Join the cluster as whom this file says (certificates in it, or absolute paths); see `tambourine join`.",
)
@click.option("--node-name", default="", help="The Node's name there.  [default: the host's name]")
@click.option("--no-start", is_flag=True, help="Install and enable, start nothing.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, change nothing.")
@click.option(
    "--root",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=Path("/"),
    help="Install into this image of a host: nothing is started, certificates are made when it boots.",
)
@click.option("--packaged", is_flag=True, hidden=True)
def install(
    source: Path | None,
    wheelhouse: Path | None,
    respect: tuple[str, ...],
    kubeconfig: Path | None,
    node_name: str,
    no_start: bool,
    dry_run: bool,
    root: Path,
    packaged: bool,
) -> None:
    """Install Tambourine on this host, or bring it up to date.

    Puts a private Python environment into /opt/tambourine, makes users, directories and certificates, and starts the
    services. Doing it again changes only what is missing; your changes to config.toml are kept, and no service that
    Tambourine manages is touched. On a host that has it, --respect, --kubeconfig and --node-name need no --source: they
    change the configuration alone.
    """
    from tambourinefs.install import steps
    from tambourinefs.install.environment import PREFIX, source_tree
    from tambourinefs.install.plan import Options

    known = False  # the program that runs is the installed one
    if source is None and wheelhouse is None and not packaged:
        source = source_tree()
        known = source is None and Path(__file__).is_relative_to(PREFIX)
        if known and not (respect or kubeconfig or node_name):
            raise HostError(
                "this command is the installed one: it does not know where a newer one is",
                hint="Give --source TREE, or --wheelhouse DIR.",
            )
    options = Options(
        source=source.resolve() if source else None,
        wheelhouse=wheelhouse.resolve() if wheelhouse else None,
        respect=respect,
        kubeconfig=kubeconfig.resolve() if kubeconfig else None,
        node_name=node_name,
        start=not no_start,
        dry_run=dry_run,
        packaged=packaged,
        root=root.resolve(),
    )
    steps.install(options, click.echo, known=known)
