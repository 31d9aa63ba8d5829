"""The commands of the daemons. systemd runs them with the host's configuration; each option overrides one key of it,
so that each daemon also runs alone, as a plain program."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tambourinefs.cli.admin.options import config_option, log_level_option
from tambourinefs.model import paths

if TYPE_CHECKING:
    from tambourinefs.model.config import Config

_MOUNTS = click.Choice(["silo", "proc"])


class Size(click.ParamType[int]):
    """Bytes, or a number with K, M, G, T (times 1024); "none" is no limit."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        text = str(value).strip().upper()
        if text == "NONE":
            return 0
        digits, unit = (text[:-1], text[-1]) if text[-1:] in {"K", "M", "G", "T"} else (text, "")
        if not digits.isdecimal():
            self.fail(f"{value!r} is not a size such as 268435456, 256M or none", param, ctx)
        return int(digits) << {"": 0, "K": 10, "M": 20, "G": 30, "T": 40}[unit]


def _daemon(command: Callable[..., None]) -> Callable[..., None]:
    """--config, --foreground and --log-level. The command gets `config`, overridden by options named SECTION__KEY."""

    @click.option(
        "--foreground",
        is_flag=True,
        help="Run without systemd: mount and unmount in this process. (Daemons never fork into the background.)",
    )
    @log_level_option
    @config_option
    @functools.wraps(command)
    def with_config(*, config_file: str, log_level: str, **options: Any) -> None:
        config = _load(config_file, log_level)
        for name in [name for name in options if "__" in name]:
            section, _, key = name.partition("__")
            if (value := options.pop(name)) not in (None, ()):
                changed = getattr(config, section)._replace(**{key: value})
                config = config._replace(**{section: changed})
        command(config=config, **options)

    return with_config


def _load(config_file: str, log_level: str = "info") -> Config:
    from tambourinefs.configfile import load
    from tambourinefs.daemon import configure_logging

    configure_logging(log_level)
    return load(config_file).config


def _writers(
    _ctx: click.Context, _param: click.Parameter, value: tuple[str, ...]
) -> tuple[str, ...] | str:
    return "any" if "any" in value else value


_silo_option = click.option(
    "--silo", "silo__mountpoint", type=click.Path(), help="The mount point of the silo."
)
_proc_option = click.option(
    "--proc", "proc__mountpoint", type=click.Path(), help="The mount point of the statuses."
)


@click.command()
@click.option(
    "--store",
    "silo__store",
    type=click.Path(file_okay=False),
    help="The directory that stores the files.",
)
@click.option(
    "--mountpoint", "silo__mountpoint", type=click.Path(), help="The mount point of the silo."
)
@click.option(
    "--writers",
    "silo__writers",
    multiple=True,
    callback=_writers,
    metavar="USER|any",
    help="A user that may write; may be repeated. All others, root included, may only read.",
)
@click.option(
    "--quota-bytes",
    "silo__quota_bytes",
    type=Size(),
    help='Maximum size, such as 256M; "none" for no limit.',
)
@click.option(
    "--quota-files",
    "silo__quota_files",
    type=Size(),
    help='Maximum number of files and directories; "none" for no limit.',
)
@_daemon
def silo(*, config: Config, foreground: bool) -> None:
    """Serve the silo: a durable file system that only named users may write.

    \b
    Examples:
      tambourine silo --store D --mountpoint M --writers any --foreground
    """
    from tambourinefs.processes import silo as process

    process.main(config, foreground=foreground)


@click.command()
@click.option(
    "--socket",
    "bombshell__socket",
    type=click.Path(),
    help="The Unix socket to listen on (107 bytes at most).",
)
@click.option(
    "--pki",
    "bombshell__pki",
    type=click.Path(file_okay=False),
    help="The directory of {ca,server,client}.{crt,key}.",
)
@_silo_option
@_proc_option
@click.option(
    "--group",
    help=f"The group that may connect; '' for the caller's own. [default: {paths.GROUP}, '' with --foreground]",
)
@click.option(
    "--plain", is_flag=True, help="Serve directories that are not Tambourine's mounts, too."
)
@_daemon
def bombshell(*, config: Config, foreground: bool, group: str | None, plain: bool) -> None:
    """Serve Bombshell: file IO on the silo and on the statuses, by gRPC over TLS on a Unix socket.

    It does not interpret what it transfers and has no access control of its own: access to the socket and to client.key is
    equivalent to root on this host.
    """
    from tambourinefs.processes import bombshell as process

    default = "" if foreground else paths.GROUP
    process.main(config, plain=plain, group=default if group is None else group)


@click.command()
@_silo_option
@_proc_option
@click.option(
    "--state",
    "agent__state_directory",
    type=click.Path(file_okay=False),
    help="The directory of the applied state.",
)
@click.option(
    "--namespace",
    "agent__namespaces",
    multiple=True,
    help="A namespace to allow; may be repeated.",
)
@click.option(
    "--accept-silo",
    metavar="UUID",
    default="",
    help="Accept the silo with this UUID from now on, and exit: for a store that was replaced on purpose. A running agent "
    "uses it within seconds.",
)
@click.option("--plain", is_flag=True, help="Accept a directory that is not a mount as the silo.")
@click.option("--withdraw-all", is_flag=True, hidden=True)  # tambourine uninstall --remove-services
@_daemon
def agent(
    *, config: Config, foreground: bool, accept_silo: str, plain: bool, withdraw_all: bool
) -> None:
    """Run the agent: apply the manifests of the silo as systemd units and serve their statuses."""
    if withdraw_all:
        from tambourinefs.processes import withdrawal

        withdrawal.main(config)
    elif accept_silo:
        from tambourinefs.agent.state.store import accept_silo as accept

        accept(Path(config.agent.state_directory), accept_silo)
        click.echo(f"accepted silo {accept_silo}")
    else:
        from tambourinefs.processes import agent as process

        process.main(config, foreground=foreground, plain=plain)


@click.command()
@click.argument("name", type=_MOUNTS)
@click.option(
    "--check",
    is_flag=True,
    help="Do not mount; return once the mount answers in the namespace of PID 1.",
)
@config_option
def mount(name: str, check: bool, config_file: str) -> None:
    """Mount for a server without the privilege to mount (ExecStartPre=+ of its unit).

    The mount is made in the namespace of PID 1 and its descriptor is stored in systemd, which needs
    FileDescriptorStoreMax=1 and NotifyAccess=exec. --check is for ExecStartPost=+: the unit becomes active when other
    processes can read the mount.
    """
    from tambourinefs.mount import units

    (units.check if check else units.mount)(name, _load(config_file))


@click.command()
@click.argument("name", type=_MOUNTS)
@config_option
def unmount(name: str, config_file: str) -> None:
    """Unmount a server's file system, whether it answers or not (ExecStopPost=+ of its unit)."""
    from tambourinefs.mount import units

    units.unmount(name, _load(config_file))
