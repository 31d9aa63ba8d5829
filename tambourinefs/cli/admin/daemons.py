"""The commands of the daemons. systemd runs them with the host's configuration; each option overrides one key of it,
so that each daemon also runs alone, as a plain program."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

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
    """The options that every daemon has."""
    for option in (
        click.option(
            "--log-level", type=click.Choice(["debug", "info", "warning", "error"]), default="info"
        ),
        click.option(
            "--foreground",
            is_flag=True,
            help="Run without systemd: mount and unmount in this process. (Daemons never fork into the background.)",
        ),
        _config_option,
    ):
        command = option(command)
    return command


_config_option = click.option(
    "--config",
    "config_file",
    type=click.Path(dir_okay=False),
    default=str(paths.CONFIG),
    show_default=True,
    help="The host's configuration; config.d/*.toml in its directory is read too. Options override it.",
)


def _load(config_file: str, **sections: dict[str, Any]) -> Config:
    """The configuration, overridden by the options that were given: section={key: value or None}."""
    from tambourinefs.configfile import load

    config = load(config_file).config
    for section, flags in sections.items():
        given = {key: value for key, value in flags.items() if value not in (None, ())}
        config = config._replace(**{section: getattr(config, section)._replace(**given)})
    return config


def _log_to_stderr(level: str) -> None:
    from tambourinefs.daemon import configure_logging

    configure_logging(level)


@click.command()
@click.option(
    "--store", type=click.Path(file_okay=False), help="The directory that stores the files."
)
@click.option("--mountpoint", type=click.Path(), help="The mount point of the silo.")
@click.option(
    "--writers",
    multiple=True,
    metavar="USER|any",
    help="A user that may write; may be repeated. All others, root included, may only read.",
)
@click.option("--quota-bytes", type=Size(), help='Maximum size, such as 256M; "none" for no limit.')
@click.option(
    "--quota-files",
    type=Size(),
    help='Maximum number of files and directories; "none" for no limit.',
)
@_daemon
def silo(
    store: str | None,
    mountpoint: str | None,
    writers: tuple[str, ...],
    quota_bytes: int | None,
    quota_files: int | None,
    config_file: str,
    foreground: bool,
    log_level: str,
) -> None:
    """Serve the silo: a durable file system that only named users may write.

    \b
    Examples:
      tambourine silo --store D --mountpoint M --writers any --foreground
    """
    from tambourinefs.processes import silo as process

    _log_to_stderr(log_level)
    config = _load(
        config_file,
        silo={
            "store": store,
            "mountpoint": mountpoint,
            "writers": "any" if "any" in writers else writers,
            "quota_bytes": quota_bytes,
            "quota_files": quota_files,
        },
    )
    process.main(config, foreground=foreground)


@click.command()
@click.option(
    "--socket", type=click.Path(), help="The Unix socket to listen on (107 bytes at most)."
)
@click.option(
    "--pki", type=click.Path(file_okay=False), help="The directory of {ca,server,client}.{crt,key}."
)
@click.option("--silo", "silo_mountpoint", type=click.Path(), help="The directory of volume SILO.")
@click.option("--proc", "proc_mountpoint", type=click.Path(), help="The directory of volume PROC.")
@click.option(
    "--group",
    help=f"The group that may connect; '' for the caller's own. [default: {paths.GROUP}, '' with --foreground]",
)
@click.option(
    "--plain", is_flag=True, help="Serve directories that are not Tambourine's mounts, too."
)
@_daemon
def bombshell(
    socket: str | None,
    pki: str | None,
    silo_mountpoint: str | None,
    proc_mountpoint: str | None,
    group: str | None,
    plain: bool,
    config_file: str,
    foreground: bool,
    log_level: str,
) -> None:
    """Serve Bombshell: file IO on the silo and on the statuses, by gRPC over TLS on a Unix socket.

    It does not interpret what it transfers and has no access control of its own: access to the socket and to client.key is
    equivalent to root on this host.
    """
    from tambourinefs.processes import bombshell as process

    _log_to_stderr(log_level)
    config = _load(
        config_file,
        bombshell={"socket": socket, "pki": pki},
        silo={"mountpoint": silo_mountpoint},
        proc={"mountpoint": proc_mountpoint},
    )
    default = "" if foreground else paths.GROUP
    process.main(config, plain=plain, group=default if group is None else group)


@click.command()
@click.option("--silo", "silo_mountpoint", type=click.Path(), help="The mount point of the silo.")
@click.option(
    "--proc", "proc_mountpoint", type=click.Path(), help="The mount point of the statuses."
)
@click.option(
    "--state", type=click.Path(file_okay=False), help="The directory of the applied state."
)
@click.option(
    "--namespace", "namespaces", multiple=True, help="A namespace to allow; may be repeated."
)
@click.option(
    "--accept-silo",
    metavar="UUID",
    default="",
    help="Accept the silo with this UUID from now on, and exit: for a store that was replaced on purpose. A running agent "
    "uses it within seconds.",
)
@click.option("--plain", is_flag=True, help="Accept a directory that is not a mount as the silo.")
@click.option(
    "--withdraw-all", is_flag=True, hidden=True
)  # `tambourine uninstall --remove-services`
@_daemon
def agent(
    silo_mountpoint: str | None,
    proc_mountpoint: str | None,
    state: str | None,
    namespaces: tuple[str, ...],
    accept_silo: str,
    plain: bool,
    withdraw_all: bool,
    config_file: str,
    foreground: bool,
    log_level: str,
) -> None:
    """Run the agent: apply the manifests of the silo as systemd units and serve their statuses."""
    from tambourinefs.processes import agent as process

    _log_to_stderr(log_level)
    config = _load(
        config_file,
        silo={"mountpoint": silo_mountpoint},
        proc={"mountpoint": proc_mountpoint},
        agent={"state_directory": state, "namespaces": namespaces},
    )
    if withdraw_all:
        from tambourinefs.processes import withdrawal

        withdrawal.main(config)
        return
    if accept_silo:
        from tambourinefs.agent.state.store import accept_silo as accept

        accept(Path(config.agent.state_directory), accept_silo)
        click.echo(f"accepted silo {accept_silo}")
        return
    process.main(config, foreground=foreground, plain=plain)


@click.command()
@click.argument("name", type=_MOUNTS)
@click.option(
    "--check",
    is_flag=True,
    help="Do not mount; return once the mount answers in the namespace of PID 1.",
)
@_config_option
def mount(name: str, check: bool, config_file: str) -> None:
    """Mount for a server without the privilege to mount (ExecStartPre=+ of its unit).

    The mount is made in the namespace of PID 1 and its descriptor is stored in systemd, which needs
    FileDescriptorStoreMax=1 and NotifyAccess=exec. --check is for ExecStartPost=+: the unit becomes active when other
    processes can read the mount.
    """
    from tambourinefs.mount import units

    _log_to_stderr("info")
    (units.check if check else units.mount)(name, _load(config_file))


@click.command()
@click.argument("name", type=_MOUNTS)
@_config_option
def unmount(name: str, config_file: str) -> None:
    """Unmount a server's file system, whether it answers or not (ExecStopPost=+ of its unit)."""
    from tambourinefs.mount import units

    _log_to_stderr("info")
    units.unmount(name, _load(config_file))
