"""`mount.fuse.tambourine`: the program that mount(8) runs for `mount -t fuse.tambourine`; the arguments are mount's (see
"EXTERNAL HELPERS" there).
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Final

import click

from tambourinefs.cli.common.exits import explain
from tambourinefs.errors import HostError, TambourineError
from tambourinefs.model import paths

if TYPE_CHECKING:
    from collections.abc import Sequence

# mount(8), EXIT STATUS
USAGE: Final = 1
MOUNT_FAILURE: Final = 32


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("spec", metavar="silo|proc")
@click.argument("directory")
@click.option("-o", "options", multiple=True, metavar="OPTION,…", help="As in fstab(5).")
@click.option("-t", "kind", hidden=True)
@click.option("-f", "fake", is_flag=True, help="Do everything but mount.")
@click.option("-s", "sloppy", is_flag=True, hidden=True)
@click.option("-n", "no_mtab", is_flag=True, hidden=True)
@click.option("-v", "verbose", is_flag=True, help="Say what is done.")
@click.option("-N", "namespace", hidden=True)
@click.option("--config", "config_file", default=str(paths.CONFIG), hidden=True)
def mount(
    spec: str,
    directory: str,
    options: tuple[str, ...],
    kind: str | None,  # noqa: ARG001 (fuse.tambourine, or we would not run)
    fake: bool,
    sloppy: bool,  # noqa: ARG001
    no_mtab: bool,  # noqa: ARG001
    verbose: bool,
    namespace: str | None,
    config_file: str,
) -> None:
    """Mount Tambourine's silo or statuses: start the service that does. mount(8) runs this for `-t fuse.tambourine`."""
    from tambourinefs.configfile import load
    from tambourinefs.daemon import configure_logging
    from tambourinefs.processes import mounthelper

    configure_logging("info" if verbose else "warning")
    if os.geteuid() != 0:
        raise HostError("mounting needs root", hint="Run it with sudo.")
    if namespace is not None:
        raise HostError("-N: Tambourine mounts in the mount namespace of PID 1 alone")
    given = tuple(option for text in options for option in text.split(","))
    request = mounthelper.Request(spec, mounthelper.resolved(directory), given)
    if fake:
        mounthelper.check_options(request.name, request.options)
        return
    mounthelper.mount(request, load(config_file).config)


def run(arguments: Sequence[str]) -> int:
    """The exit status of one call, as mount(8) has them; what is wrong goes to standard error."""
    try:
        mount.main(list(arguments), prog_name="mount.fuse.tambourine", standalone_mode=False)
    except TambourineError as error:
        click.echo(explain(error), err=True)
        return MOUNT_FAILURE
    except click.ClickException as error:
        error.show()
        return USAGE
    except (click.Abort, KeyboardInterrupt):
        return MOUNT_FAILURE
    return 0


def main() -> None:
    """Run the helper and end the process."""
    sys.exit(run(sys.argv[1:]))
