"""`tambourine uninstall`: remove Tambourine from this host."""

from __future__ import annotations

import sys

import click

from tambourinefs.cli.admin.options import dry_run_option


@click.command()
@click.option(
    "--keep-services/--remove-services",
    "keep",
    default=None,
    help="Keep managed services running without Tambourine, or stop and remove them and restore the files that they "
    "replaced.  [default: ask on a terminal, otherwise keep]",
)
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@dry_run_option
@click.option("--packaged", is_flag=True, hidden=True)
def uninstall(keep: bool | None, yes: bool, dry_run: bool, packaged: bool) -> None:
    """Remove Tambourine from this host completely.

    Removes its units, users, configuration, certificates, manifests, state, and /opt/tambourine. If it was installed as a
    Debian package, use `apt purge tambourine`.

    \b
    Examples:
      tambourine uninstall --dry-run
      tambourine uninstall --keep-services
      tambourine uninstall --remove-services --yes

    \b
    Exit codes: 0 removed, 1 cancelled or failed.
    """
    from tambourinefs.install import uninstall as removing

    found = removing.services()
    terminal = sys.stdin.isatty() and not (dry_run or packaged)
    if keep is None:
        keep = True
        if found and terminal:
            click.echo(
                f"Tambourine manages {len(found)} services here: {', '.join(found[:10])}{' …' * (len(found) > 10)}"
            )
            keep = not click.confirm("Stop and remove them? (no: they keep running)", default=False)
    if (
        terminal
        and not yes
        and not click.confirm(
            "Remove Tambourine, its configuration, manifests and state?", default=False
        )
    ):
        click.echo("Nothing was changed.")
        click.get_current_context().exit(1)
    removal = removing.Removal(remove_services=not keep, packaged=packaged, dry_run=dry_run)
    removing.uninstall(removal, click.echo)
    if not dry_run and not packaged:
        click.echo("\nTambourine was removed from this host.")
