"""Options that several commands of this host share."""

from __future__ import annotations

from typing import Final

import click

from tambourinefs.model import paths

config_option: Final = click.option(
    "--config",
    "config_file",
    envvar="TAMBOURINE_CONFIG",
    default=str(paths.CONFIG),
    show_default=True,
    show_envvar=True,
    type=click.Path(dir_okay=False),
    metavar="FILE",
    help="The host's configuration; config.d/*.toml in its directory is read after it.",
)
log_level_option: Final = click.option(
    "--log-level", type=click.Choice(["debug", "info", "warning", "error"]), default="info"
)
json_option: Final = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
dry_run_option: Final = click.option(
    "--dry-run", is_flag=True, help="Print what would be done; change nothing."
)
allow_namespace_option: Final = click.option(
    "--allow-namespace",
    "allow_namespaces",
    multiple=True,
    metavar="NAMESPACE",
    help='Accept Tambourines from this Kubernetes namespace ("*": all); may be repeated. Users who can create '
    "Tambourines there are root on this host.",
)
