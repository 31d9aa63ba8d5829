"""`kubectl tambourine`: the root of the plugin. kubectl finds the program `kubectl-tambourine` on PATH."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from tambourinefs import __version__
from tambourinefs.cli.common import lazy
from tambourinefs.cli.plugin.options import root_options

if TYPE_CHECKING:
    from collections.abc import Sequence

PROGRAM: Final = "kubectl tambourine"

# The order is the order of --help.
SECTIONS: Final[dict[str, dict[str, str]]] = {
    "Services": {
        "status": "tambourinefs.cli.plugin.status:status",
        "start": "tambourinefs.cli.plugin.command:start",
        "stop": "tambourinefs.cli.plugin.command:stop",
        "restart": "tambourinefs.cli.plugin.command:restart",
        "reload": "tambourinefs.cli.plugin.command:reload",
        "logs": "tambourinefs.cli.plugin.logs:logs",
        "history": "tambourinefs.cli.plugin.undo:history",
        "undo": "tambourinefs.cli.plugin.undo:undo",
    },
    "The cluster": {
        "nodes": "tambourinefs.cli.plugin.nodes:nodes",
        "join": "tambourinefs.cli.plugin.join:join",
        "uninstall": "tambourinefs.cli.plugin.uninstall:uninstall",
    },
}
COMMANDS: Final = {name: at for section in SECTIONS.values() for name, at in section.items()}


@click.group(
    cls=lazy.LazyGroup,
    sections=SECTIONS,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, prog_name=PROGRAM)
@root_options
def root() -> None:
    """Look at, command, undo and remove systemd services that Tambourine runs on the nodes of a cluster.

    They are written and listed with kubectl itself; this is for what kubectl has no verb for. It has the rights of
    your kubeconfig, and no others.

    \b
    A first look:
      kubectl get tambourine                        all services, one line each
      kubectl tambourine status alice-zfs           what `systemctl status` shows, node by node
      kubectl tambourine restart alice-zfs          once, on every node, waiting until it is done
      kubectl tambourine nodes                      which nodes have an agent, and whom they obey

    \b
    Exit codes, the same as of `tambourine` on a host:
      0  as asked
      1  a service is not as asked
      2  the usage is wrong, or the API server finds the object invalid
      3  refused: by the cluster (RBAC, admission) or by a host's policy
      4  the API server cannot be reached
    """


def main() -> None:
    """Run the command line and end the process."""
    lazy.main(root, PROGRAM)


def run(arguments: Sequence[str]) -> int:
    """The exit code of one command line; what it says goes to standard output and standard error."""
    return lazy.run(root, PROGRAM, arguments)


if __name__ == "__main__":
    main()
