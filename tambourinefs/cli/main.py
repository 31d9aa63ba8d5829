"""`tambourine`: the root command. Each subcommand is named by `module:attribute` and imported when it is used.

So `tambourine get` never imports a file system, and the client works without the `[node]` extra.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from tambourinefs import __version__
from tambourinefs.cli.common import lazy

if TYPE_CHECKING:
    from collections.abc import Sequence

# The order is the order of --help.
SECTIONS: Final[dict[str, dict[str, str]]] = {
    "Services": {
        "apply": "tambourinefs.cli.host.apply:apply",
        "diff": "tambourinefs.cli.host.apply:diff",
        "delete": "tambourinefs.cli.host.delete:delete",
        "get": "tambourinefs.cli.host.get:get",
        "status": "tambourinefs.cli.host.status:status",
        "start": "tambourinefs.cli.host.command:start",
        "stop": "tambourinefs.cli.host.command:stop",
        "restart": "tambourinefs.cli.host.command:restart",
        "reload": "tambourinefs.cli.host.command:reload",
        "logs": "tambourinefs.cli.host.logs:logs",
    },
    "This host": {
        "install": "tambourinefs.cli.admin.install:install",
        "uninstall": "tambourinefs.cli.admin.uninstall:uninstall",
        "join": "tambourinefs.cli.admin.join:join",
        "config": "tambourinefs.cli.admin.config:config",
        "doctor": "tambourinefs.cli.admin.doctor:doctor",
        "pki": "tambourinefs.cli.admin.pki:pki",
        "completion": "tambourinefs.cli.host.completion:completion",
    },
    "Daemons (systemd runs these)": {
        "silo": "tambourinefs.cli.admin.daemons:silo",
        "bombshell": "tambourinefs.cli.admin.daemons:bombshell",
        "agent": "tambourinefs.cli.admin.daemons:agent",
        "sync": "tambourinefs.cli.admin.cluster:sync",
        "controller": "tambourinefs.cli.admin.cluster:controller",
        "mount": "tambourinefs.cli.admin.daemons:mount",
        "unmount": "tambourinefs.cli.admin.daemons:unmount",
    },
}
COMMANDS: Final = {name: at for section in SECTIONS.values() for name, at in section.items()}


@click.group(
    cls=lazy.LazyGroup, sections=SECTIONS, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.version_option(__version__, prog_name="tambourine")
def root() -> None:
    """Install, manage and observe systemd services on this host, from manifests.

    \b
    Examples:
      tambourine apply -f hello.yaml      install a service and wait until it is ready
      tambourine get                      list services
      tambourine status hello             show what `systemctl status` shows, and why it failed
      cat /run/tambourine/proc/local/hello/status

    \b
    Exit codes:
      0  success; the service is ready
      1  failure; the service is not ready, or does not exist
      2  wrong usage or invalid manifest
      3  refused by the host's policy (/etc/tambourine/config.toml)
      4  Bombshell cannot be reached
    """


def main() -> None:
    """Run the command line and end the process."""
    lazy.main(root, "tambourine")


def run(arguments: Sequence[str]) -> int:
    """The exit code of one command line."""
    return lazy.run(root, "tambourine", arguments)


if __name__ == "__main__":
    main()
