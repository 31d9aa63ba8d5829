"""What Tambourine needs of the host besides its programs: users, directories, configuration, certificates, units."""

from __future__ import annotations

import grp
import hashlib
import json
import os
import pwd
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tambourinefs import files
from tambourinefs.errors import HostError
from tambourinefs.install.environment import PREFIX
from tambourinefs.install.place import link, put
from tambourinefs.install.plan import Changes, Options
from tambourinefs.install.programs import run, succeeds
from tambourinefs.model import paths

SHARE: Final = PREFIX / "share/tambourine"
COMMAND: Final = PREFIX / "bin/tambourine"
LINK: Final = Path("/usr/local/bin/tambourine")
SBIN: Final = Path("/sbin")
MOUNT_HELPERS: Final = ("mount.fuse.tambourine", "umount.fuse.tambourine")
LINKS: Final = {LINK: COMMAND, **{SBIN / name: COMMAND.with_name(name) for name in MOUNT_HELPERS}}
LOCAL: Final = Path(
    "/usr/local/lib"
)  # a package uses /usr/lib; changes of the administrator's go to /etc
PACKAGED: Final = (
    SHARE / "packaged"
)  # the package's digest; where it is, dpkg owns what we else make
SERVICES: Final = ("tambourine-silo.service", "tambourine.service", "tambourine-bombshell.service")
SYNC: Final = "tambourine-sync.service"  # does nothing on a host that has joined no cluster
RENEWAL: Final = "tambourine-pki-renew.timer"
FIRST_BOOT: Final = "tambourine-first-boot.service"
ENABLED: Final = (*SERVICES, SYNC, RENEWAL, "proc-tambourine.mount", FIRST_BOOT)
# Not enabled: one comes and goes with the mount, the other is started by its timer.
UNITS: Final = (*ENABLED, "tambourine-module.service", "tambourine-pki-renew.service")
USERS: Final = (paths.BOMBSHELL_USER, paths.SYNC_USER)
DIRECTORIES: Final = tuple(map(str, (paths.CONFIG.parent, paths.RUN, paths.STATE)))
_NAMESPACES: Final = "50-namespaces.toml"
_NODE: Final = "50-node.toml"
_HEALTHY_SECONDS: Final = 180.0


def places() -> list[Path]:
    """The single files that an installation without a package makes outside of its environment."""
    units = [LOCAL / "systemd/system" / name for name in UNITS]
    return [
        *LINKS,
        LOCAL / "sysusers.d/tambourine.conf",
        LOCAL / "tmpfiles.d/tambourine.conf",
        *units,
    ]


def command(options: Options, changes: Changes) -> str:
    """`tambourine` on PATH, and the helpers that mount(8) and umount(8) look for."""
    for at in LINKS:
        _remember(options, changes, at)
    made = [str(at) for at, to in LINKS.items() if link(options.at(at), to, changes)]
    return f"linked {', '.join(made)}" if made else ""


def users(options: Options, changes: Changes) -> str:
    """The group tambourine and the users, by sysusers.d(5)."""
    file, changed = _lay(options, "sysusers.d/tambourine.conf", "tambourine.sysusers", changes)
    known = _names(options.at("/etc/passwd")), _names(options.at("/etc/group"))
    changes.ledger.add(*(f"user:{name}" for name in USERS if name not in known[0]))
    changes.ledger.add(*(f"group:{name}" for name in (paths.GROUP, *USERS) if name not in known[1]))
    run("systemd-sysusers", *_rooted(options), str(file))
    return f"from {file}" if changed else ""


def _names(file: Path) -> set[str]:
    """Of users or groups; not by the C library, which would ask this machine for an image's."""
    return (
        {line.partition(":")[0] for line in file.read_text().splitlines()}
        if file.exists()
        else set()
    )


def directories(options: Options, changes: Changes) -> str:
    """Ours in /etc, /run and /var/lib, by tmpfiles.d(5), now and at each boot."""
    file, changed = _lay(options, "tmpfiles.d/tambourine.conf", "tambourine.tmpfiles", changes)
    changes.ledger.add(*DIRECTORIES)
    run("systemd-tmpfiles", *_rooted(options), "--create", str(file))
    return f"from {file}" if changed else ""


def _lay(options: Options, place: str, name: str, changes: Changes) -> tuple[Path, bool]:
    """Put what systemd's own programs read where they look for it; in a package it is there. (path on the host, changed)"""
    if options.packaged:
        return Path("/usr/lib", place), False
    file = LOCAL / place
    _remember(options, changes, file)
    data = options.at(SHARE / "systemd" / name).read_bytes()
    return file, put(options.at(file), data, changes)


def _remember(options: Options, changes: Changes, file: Path) -> None:
    """That the file is ours, and the directories that are not there for it."""
    changes.ledger.add(file, *(d for d in file.parents if not options.at(d).exists()))


def _rooted(options: Options) -> tuple[str, ...]:
    return (f"--root={options.root}",) if options.image else ()


def configuration(options: Options, changes: Changes) -> str:
    """config.toml: the shipped one, except where the administrator has changed it."""
    target, shipped = options.at(paths.CONFIG), options.at(SHARE / "config.toml").read_bytes()
    said = []
    ours = {_sha256(shipped), changes.ledger.config}
    if target.exists() and _sha256(target.read_bytes()) not in ours:
        said.append(f"{target} kept as you changed it (the shipped one: {SHARE / 'config.toml'})")
    elif put(target, shipped, changes):
        said.append(f"wrote {target}")
    if changes.ledger.config != _sha256(shipped):
        changes.ledger.config = _sha256(shipped)
        changes.ledger.save()
    said += _allow_namespaces(options, changes)
    # A configuration with an error in it must stop us here, not the daemons later.
    run(*options.program(str(COMMAND), "config"))
    return "; ".join(said)


def _allow_namespaces(options: Options, changes: Changes) -> list[str]:
    said = []
    if options.allow_namespaces:
        # In addition to those that are allowed already: the controller's advice names only one.
        known = json.loads(run(*options.program(str(COMMAND), "config", "--json")))[
            "agent.namespaces"
        ]["value"]
        listed = ", ".join(
            f'"{name}"' for name in dict.fromkeys((*known, *options.allow_namespaces))
        )
        text = f"# Written by `tambourine install --allow-namespace`.\n[agent]\nnamespaces = [{listed}]\n"
        target = options.at(paths.CONFIG_DIR / _NAMESPACES)
        if put(target, text.encode(), changes):
            said.append(f"wrote {target}")
    return said


def cluster(options: Options, changes: Changes) -> str:
    """Who this node is in its cluster: the kubeconfig, for sync alone to read, and the Node's name."""
    said = []
    if options.kubeconfig is not None:
        target = options.at(paths.KUBECONFIG)
        data = options.kubeconfig.read_bytes()
        if put(target, data, changes, mode=0o640):
            said.append(f"wrote {target}")
        _give_to_group(options, target)
    if options.node_name:
        target = options.at(paths.CONFIG_DIR / _NODE)
        head = "# Written by `tambourine join` or `tambourine install --node-name`."
        text = f'{head}\n[cluster]\nnode_name = "{options.node_name}"\n'
        if put(target, text.encode(), changes):
            said.append(f"wrote {target}")
        run(*options.program(str(COMMAND), "config"))
    return "; ".join(said)


def _give_to_group(options: Options, file: Path) -> None:
    for line in options.at("/etc/group").read_text().splitlines():
        name, _, gid, *_ = line.split(":")
        if name == paths.GROUP:
            os.chown(file, 0, int(gid))


def lay_identity(pem: bytes) -> None:
    """The node's key and certificate, for sync alone, which renews them there."""
    target = Path(paths.IDENTITY)
    try:
        user, group = pwd.getpwnam(paths.SYNC_USER).pw_uid, grp.getgrnam(paths.GROUP).gr_gid
    except KeyError as error:
        raise HostError(f"{error.args[0]}", hint="tambourine install") from error
    files.replace_file_durably(target, pem, mode=0o600, uid=user, gid=group)


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def certificates(options: Options) -> str:
    """The private authority, the server's and the client's certificate: what is missing of them.

    An image has none: hosts made from it would share the keys. Each makes its own when it boots.
    """
    if not options.starts:
        return f"made at the first boot ({FIRST_BOOT})"
    said = run(str(COMMAND), "pki", "init").strip()
    return "" if said.startswith("nothing to do") else f"made in {paths.PKI}"


def units(options: Options, changes: Changes) -> str:
    """The unit files, enabled. A daemon-reload follows even when nothing changed: one before us may have ended between."""
    changed = [] if options.packaged else _lay_units(options, changes)
    if not options.starts:
        # Not `systemctl --root=`, which looks for units in the image alone and enables by the same links.
        run("systemctl", f"--root={options.root}", "enable", "--quiet", *ENABLED)
        return "enabled by their links; they start at boot"
    if changed or not succeeds("systemctl", "cat", "--quiet", *UNITS):
        run("systemctl", "daemon-reload")
    for name in UNITS:
        if (
            run("systemctl", "show", "--property=NeedDaemonReload", "--value", name).strip()
            == "yes"
        ):
            run("systemctl", "daemon-reload")
            break
    run("systemctl", "enable", "--quiet", *ENABLED)
    return f"{', '.join(changed)} in {LOCAL / 'systemd/system'}" if changed else ""


def _lay_units(options: Options, changes: Changes) -> list[str]:
    directory = LOCAL / "systemd/system"
    for name in UNITS:
        _remember(options, changes, directory / name)
    return [
        name
        for name in UNITS
        if put(
            options.at(directory / name),
            options.at(SHARE / "systemd" / name).read_bytes(),
            changes,
        )
    ]


def start(changes: Changes) -> str:
    """Start what does not run; restart all when something changed. The services that we manage are not touched by that."""
    build = PACKAGED.read_text().strip() if PACKAGED.is_file() else ""
    if build != changes.ledger.build:  # dpkg has changed what we did not
        changes.note()
    if changes.pending:
        # One after the other: in one transaction the agent, stopped with the others, would wait for the silo's start, and
        # who reads statuses with it.
        for name in (*SERVICES, SYNC, RENEWAL):
            _systemctl("restart", name)
        changes.ledger.build = build
        changes.ledger.save()
        changes.settled()
        return "restarted with what has changed"
    if succeeds("systemctl", "is-active", "--quiet", *_expected()):
        return ""
    _systemctl("start", *SERVICES, SYNC, RENEWAL)
    return "started"


def _expected() -> tuple[str, ...]:
    """The services that shall be active here."""
    always = (*SERVICES, RENEWAL)
    return (*always, SYNC) if Path(paths.KUBECONFIG).exists() else always


def _systemctl(verb: str, *names: str) -> None:
    # A service that fails is started again and again, and systemctl waits for it as long.
    try:
        run("systemctl", verb, *names, timeout=_HEALTHY_SECONDS)
    except HostError as error:
        raise HostError(f"{error.message}\n{_complaints()}") from error


def _complaints() -> str:
    """The last lines of our services' logs that say more than the usual."""
    units = [f"--unit={name}" for name in (*SERVICES, SYNC)]
    lines = run(
        "journalctl",
        "--boot",
        "--no-pager",
        "--lines=15",
        "--output=cat",
        "--priority=notice",
        *units,
    )
    return lines.rstrip()


def healthy() -> str:
    """Wait until the whole chain answers: three units, two mounts, one call through Bombshell.

    Raises HostError with what is wrong, after a minute.
    """
    deadline = time.monotonic() + _HEALTHY_SECONDS
    while trouble := _trouble():
        if time.monotonic() > deadline:
            raise HostError(
                trouble,
                hint="journalctl -b -u 'tambourine*'",
            )
        time.sleep(0.1)
    return "silo, agent and Bombshell answer"


def _trouble() -> str:
    for name in _expected():
        if not succeeds("systemctl", "is-active", "--quiet", name):
            return f"{name} is not active"
    checks: tuple[tuple[str, Callable[[], bool]], ...] = (
        (
            f"the silo at {paths.SILO} does not answer",
            lambda: succeeds(str(COMMAND), "mount", "--check", "silo"),
        ),
        (
            f"the statuses at {paths.PROC} do not answer",
            lambda: succeeds(str(COMMAND), "mount", "--check", "proc"),
        ),
        ("Bombshell does not answer", lambda: succeeds(str(COMMAND), "get")),
    )
    return next((said for said, holds in checks if not holds()), "")
