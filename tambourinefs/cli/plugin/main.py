"""`kubectl tambourine`: the root of the plugin. kubectl finds the program `kubectl-tambourine` in PATH."""

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
    """Inspect, control, roll back and remove systemd services that Tambourine manages on cluster nodes.

    Create, change, list and delete them with kubectl itself; this plugin has the verbs that kubectl lacks. It uses the
    rights of your kubeconfig.

    \b
    Examples:
      kubectl get tambourine                        list services
      kubectl tambourine status alice-zfs           show what `systemctl status` shows, for each node
      kubectl tambourine restart alice-zfs          restart it once on every node, and wait
      kubectl tambourine nodes                      show nodes with an agent and their allowed namespaces

    \b
    Exit codes:
      0  success; the service is ready
      1  failure; the service is not ready, or does not exist
      2  wrong usage, or the API server rejects the object as invalid
      3  refused: by the cluster (RBAC, admission) or by a host's policy
      4  the API server cannot be reached
    """


def main() -> None:
    """Run the command line and end the process."""
    lazy.main(root, PROGRAM)


def run(arguments: Sequence[str]) -> int:
    """The exit code of one command line."""
    return lazy.run(root, PROGRAM, arguments)


if __name__ == "__main__":
    main()
