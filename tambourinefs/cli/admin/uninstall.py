"""`tambourine uninstall`: take Tambourine off this host."""

from __future__ import annotations

import sys

import click


@click.command()
@click.option(
    "--keep-services/--remove-services",
    "keep",
    default=None,
    help="What becomes of managed services: they run on and belong to nobody, or they are stopped and removed and what "
    "stood there before them is put back.  [default: asked on a terminal, else kept]",
)
@click.option("--yes", is_flag=True, help="Do not ask whether to go on.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, change nothing.")
@click.option("--packaged", is_flag=True, hidden=True)
def uninstall(keep: bool | None, yes: bool, dry_run: bool, packaged: bool) -> None:
    """Take Tambourine off this host: nothing of it is left.

    Its units, users, configuration, certificates, manifests and state are removed, and /opt/tambourine with it. Where a
    Debian package installed it, `apt purge tambourine` does this.

    \b
    Examples:
      tambourine uninstall --dry-run
      tambourine uninstall --keep-services
      tambourine uninstall --remove-services --yes
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
            keep = not click.confirm("Stop and remove them? (no: they run on)", default=False)
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
        click.echo("\nTambourine is gone from this host.")
