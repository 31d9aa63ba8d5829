"""The host's configuration: every key with its default, and the merge of several files.

`systemd/config.toml` documents the keys; configfile.py reads files. Named tuples, since every command
imports this module, and a dataclass takes five times as long to create.
"""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from tambourinefs.errors import InvalidConfig
from tambourinefs.model import names, paths
from tambourinefs.model.configrules import CHECKS

if TYPE_CHECKING:
    from collections.abc import Iterable

DEFAULT: Final = "default"  # the origin of a value that no file sets

# Units that the host, its network and its kubelet need, and targets that would stop the host.
DENIED_UNITS: Final = (
    "dbus.service", "dbus.socket", "dbus-*", "systemd-*", "polkit.service", "user@*.service", "getty@*.service",
    "ssh.service", "ssh.socket", "ssh@*.service", "sshd.service", "sshd.socket", "sshd@*.service",
    "NetworkManager*", "networking.service", "network.service", "wicked*", "netplan-*", "connman*", "dhcpcd*",
    "ifup@*.service", "ifupdown*", "netctl*",
    "kubelet.service", "k3s*", "k0s*", "rke2-*", "snap.microk8s.*", "kubepods*",
    "containerd.service", "docker.service", "docker.socket", "crio.service", "cri-o.service", "cri-docker*",
    "-.mount", "-.slice", "system.slice", "user.slice", "machine.slice",
    "default.target", "sysinit.target", "basic.target", "rescue.target", "emergency.target", "shutdown.target",
    "exit.target", "halt.target", "poweroff.target", "reboot.target", "soft-reboot.target", "kexec.target",
    "sleep.target", "suspend*.target", "hibernate.target", "hybrid-sleep.target", "ctrl-alt-del.target", "runlevel?.target",
)  # fmt: skip


class SiloConfig(NamedTuple):
    """The silo. `writers` are users, or "any"."""

    store: str = str(paths.STORE)
    mountpoint: str = str(paths.SILO)
    writers: tuple[str, ...] | Literal["any"] = (paths.BOMBSHELL_USER,)
    quota_bytes: int = 256 << 20
    quota_files: int = 65_536


class ProcConfig(NamedTuple):
    """The status mount."""

    mountpoint: str = str(paths.PROC)


class BombshellConfig(NamedTuple):
    """The gRPC server. `stream_timeout`: seconds without progress."""

    socket: str = str(paths.SOCKET)
    pki: str = str(paths.PKI)
    require_client_certificate: bool = True
    max_watches: int = 64
    max_reads: int = 32
    max_writes: int = 16
    max_uncommitted_bytes: int = 128 << 20
    stream_timeout: float = 30.0


class AgentConfig(NamedTuple):
    """The policy of the agent. `allowed_units` are exceptions from `denied_units`; both are globs."""

    namespaces: tuple[str, ...] = ("local",)
    denied_units: tuple[str, ...] = DENIED_UNITS
    allowed_units: tuple[str, ...] = ()
    file_prefixes: tuple[str, ...] = ("/etc", "/usr/local", "/opt", "/var/lib")
    state_directory: str = str(paths.AGENT_STATE)
    journal_lines: bool = True


class ClusterConfig(NamedTuple):
    """The cluster. `node_name` "" is the host name; without `kubeconfig` a pod's account is used."""

    node_name: str = ""
    kubeconfig: str = str(paths.KUBECONFIG)
    lease_namespace: str = "kube-node-lease"


class Config(NamedTuple):
    """All sections. `Config()` has the defaults."""

    silo: SiloConfig = SiloConfig()
    proc: ProcConfig = ProcConfig()
    bombshell: BombshellConfig = BombshellConfig()
    agent: AgentConfig = AgentConfig()
    cluster: ClusterConfig = ClusterConfig()


class Effective(NamedTuple):
    """The configuration in effect, and for each dotted key the file of its value, or "default"."""

    config: Config
    origins: dict[str, str]

    def values(self) -> dict[str, object]:
        """The values by dotted key."""
        sections: dict[str, Any] = self.config._asdict()
        return {
            f"{s}.{key}": v for s, keys in sections.items() for key, v in keys._asdict().items()
        }


def merge(documents: Iterable[tuple[str, bytes]]) -> Effective:
    """The defaults, overridden by each (file, TOML) key by key; a list replaces a list.

    Raises InvalidConfig with the file and the key.
    """
    values = Effective(Config(), {}).values()
    origins = dict.fromkeys(values, DEFAULT)
    for source, data in documents:
        for key, value in _read(source, data).items():
            values[key] = value
            origins[key] = source
    config = _build(values)
    _check_together(config, origins)
    return Effective(config, origins)


def _build(values: dict[str, Any]) -> Config:
    def section(name: str) -> dict[str, Any]:
        return {k.partition(".")[2]: v for k, v in values.items() if k.startswith(f"{name}.")}

    return Config(
        SiloConfig(**section("silo")),
        ProcConfig(**section("proc")),
        BombshellConfig(**section("bombshell")),
        AgentConfig(**section("agent")),
        ClusterConfig(**section("cluster")),
    )


def _read(source: str, data: bytes) -> dict[str, object]:
    """The valid values of one file by dotted key."""
    found: dict[str, object] = {}
    for section, keys in _toml(source, data).items():
        if section not in SECTIONS:
            raise InvalidConfig(_unknown("section", section, SECTIONS), source=source, key=section)
        if not isinstance(keys, dict):
            raise InvalidConfig(f"must be a section: [{section}]", source=source, key=section)
        for key, value in keys.items():
            dotted = f"{section}.{key}"
            if dotted not in CHECKS:
                known = [
                    name.partition(".")[2] for name in CHECKS if name.startswith(f"{section}.")
                ]
                raise InvalidConfig(_unknown("key", key, known), source=source, key=dotted)
            try:
                found[dotted] = CHECKS[dotted](value)
            except ValueError as error:
                raise InvalidConfig(str(error), source=source, key=dotted) from None
    return found


def _toml(source: str, data: bytes) -> dict[str, Any]:
    try:
        return tomllib.loads(data.decode())
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InvalidConfig(f"not UTF-8 at line {line}", source=source) from error
    except tomllib.TOMLDecodeError as error:
        raise InvalidConfig(f"not TOML: {names.printable(str(error))}", source=source) from error
    except (RecursionError, ValueError) as error:
        raise InvalidConfig("nested too deep, or a number is too large", source=source) from error


def _unknown(what: str, name: str, known: Iterable[str]) -> str:
    meant = names.nearest(name, known)
    guess = f' (did you mean "{meant}"?)' if meant else ""
    return f'unknown {what} "{names.printable(name[:64])}"{guess}'


def _check_together(config: Config, origins: dict[str, str]) -> None:
    """A mount must not cover its store, another mount or the applied state."""
    places = {
        "silo.store": config.silo.store,
        "silo.mountpoint": config.silo.mountpoint,
        "proc.mountpoint": config.proc.mountpoint,
        "agent.state_directory": config.agent.state_directory,
    }
    for key, place in places.items():
        for other, covered in places.items():
            if key != other and names.is_at_or_below(place, covered):
                culprit = key if origins[key] != DEFAULT else other
                raise InvalidConfig(
                    f"{key} {place} must not be inside {other} {covered}",
                    source=origins[culprit],
                    key=culprit,
                )


SECTIONS: Final = Config._fields
