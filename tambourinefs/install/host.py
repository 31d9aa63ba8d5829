"""What Tambourine needs of the host besides its programs: users, directories, configuration, certificates, units."""

from __future__ import annotations

import grp
import hashlib
import json
import os
import pwd
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tambourinefs import files
from tambourinefs.errors import HostError, InvalidInput
from tambourinefs.install.environment import PREFIX, PYTHON
from tambourinefs.install.place import link, put
from tambourinefs.install.plan import Changes, Options
from tambourinefs.install.programs import run, succeeds
from tambourinefs.model import names, paths

SHARE: Final = PREFIX / "share/tambourine"
COMMAND: Final = PREFIX / "bin/tambourine"
LINK: Final = Path("/usr/local/bin/tambourine")
SBIN: Final = Path("/sbin")
MOUNT_HELPERS: Final = ("mount.fuse.tambourine", "umount.fuse.tambourine")
LOCAL: Final = Path(
    "/usr/local/lib"
)  # a package uses /usr/lib; the administrator's changes go to /etc in both cases
SERVICES: Final = ("tambourine-silo.service", "tambourine.service", "tambourine-bombshell.service")
SYNC: Final = "tambourine-sync.service"  # does nothing on a host that has joined no cluster
RENEWAL: Final = "tambourine-pki-renew.timer"
ENABLED: Final = (*SERVICES, SYNC, RENEWAL, "proc-tambourine.mount")
# Not enabled: one comes and goes with the mount, the other is started by its timer.
UNITS: Final = (*ENABLED, "tambourine-module.service", "tambourine-pki-renew.service")
_SHIPPED: Final = PREFIX / ".config.sha256"  # digest of the config.toml that we put there last
_RESPECT: Final = "50-respect.toml"
_NODE: Final = "50-node.toml"
_MAX_KUBECONFIG: Final = 1 << 20
_HEALTHY_SECONDS: Final = 60.0


def check(options: Options) -> str:
    """Raise HostError where the installation could not come to an end on this host."""
    check_root()
    if not Path("/run/systemd/system").is_dir():
        raise HostError(
            "systemd is not running this host",
            hint="To look at Tambourine elsewhere: tests/lab/lab up",
        )
    if not succeeds(PYTHON, "-c", "import sys; sys.exit(sys.version_info < (3, 11))"):
        raise HostError(
            f"{PYTHON} is missing or older than 3.11", hint="Debian 12 or newer has it."
        )
    if not Path("/dev/fuse").exists() and not succeeds("modprobe", "fuse"):
        raise HostError("/dev/fuse is missing", hint="Load the kernel module: modprobe fuse")
    check_names(options)
    if missing := _missing_packages(options):
        raise HostError(
            "packages are missing",
            hint=f"apt-get install --no-install-recommends {' '.join(missing)}",
        )
    return ""


def check_root() -> str:
    """Raise HostError where we are not."""
    if os.geteuid() != 0:
        raise HostError("installing needs root", hint="Run it with sudo.")
    return ""


def check_names(options: Options) -> None:
    """Raise InvalidInput before anything is written: a configuration with an error in it would stop the daemons."""
    if options.node_name and (problem := names.object_name_problem(options.node_name)):
        shown = names.printable(options.node_name[:64])
        raise InvalidInput(f'--node-name "{shown}": {problem}')
    for namespace in options.respect:
        if namespace != "*" and (problem := names.namespace_problem(namespace)):
            raise InvalidInput(f'--respect "{names.printable(namespace[:64])}": {problem}')
    if options.kubeconfig is not None and options.kubeconfig.stat().st_size > _MAX_KUBECONFIG:
        raise InvalidInput(f"{options.kubeconfig} is larger than 1 MiB: that is no kubeconfig")


def _missing_packages(options: Options) -> list[str]:
    missing = [] if succeeds(PYTHON, "-c", "import ensurepip, venv") else ["python3-venv"]
    missing += [] if shutil.which("dbus-daemon") else ["dbus"]
    if options.wheelhouse is None:  # pyfuse3 and systemd-python are built here
        for package, proof in (
            ("gcc", "/usr/bin/gcc"),
            ("pkg-config", "/usr/bin/pkg-config"),
            ("python3-dev", "/usr/bin/python3-config"),
            ("libfuse3-dev", "/usr/include/fuse3/fuse.h"),
            ("libsystemd-dev", "/usr/include/systemd/sd-daemon.h"),
        ):
            missing += [] if Path(proof).exists() else [package]
    return missing


def command(changes: Changes) -> str:
    """`tambourine` on everybody's PATH, and what mount(8) and umount(8) look for, in the one place where they do."""
    links = {LINK: COMMAND, **{SBIN / name: COMMAND.with_name(name) for name in MOUNT_HELPERS}}
    made = [str(at) for at, to in links.items() if link(at, to, changes)]
    return f"linked {', '.join(made)}" if made else ""


def users(changes: Changes) -> str:
    """The group tambourine and the user bombshell, by sysusers.d(5)."""
    file = LOCAL / "sysusers.d/tambourine.conf"
    changed = put(file, (SHARE / "systemd/tambourine.sysusers").read_bytes(), changes)
    run("systemd-sysusers", str(file))
    return f"from {file}" if changed else ""


def directories(changes: Changes) -> str:
    """Ours in /etc, /run and /var/lib, by tmpfiles.d(5), now and at each boot."""
    file = LOCAL / "tmpfiles.d/tambourine.conf"
    changed = put(file, (SHARE / "systemd/tambourine.tmpfiles").read_bytes(), changes)
    run("systemd-tmpfiles", "--create", str(file))
    return f"from {file}" if changed else ""


def configuration(options: Options, changes: Changes) -> str:
    """config.toml: the shipped one, except where the administrator has changed it."""
    target, shipped = Path(paths.CONFIG), (SHARE / "config.toml").read_bytes()
    said = []
    ours = {_sha256(shipped), _SHIPPED.read_text().strip() if _SHIPPED.is_file() else ""}
    if target.exists() and _sha256(target.read_bytes()) not in ours:
        said.append(f"{target} kept as you changed it (the shipped one: {SHARE / 'config.toml'})")
    elif put(target, shipped, changes):
        said.append(f"wrote {target}")
    put(_SHIPPED, f"{_sha256(shipped)}\n".encode(), changes)
    said += _respect(options, changes)
    run(
        str(COMMAND), "config"
    )  # a configuration with an error in it must stop us here, not the daemons later
    return "; ".join(said)


def _respect(options: Options, changes: Changes) -> list[str]:
    said = []
    if options.respect:
        # Besides those that it obeys already: what the cluster's own advice names must not turn the others off.
        known = json.loads(run(str(COMMAND), "config", "--json"))["agent.namespaces"]["value"]
        listed = ", ".join(f'"{name}"' for name in dict.fromkeys((*known, *options.respect)))
        text = f"# Written by `tambourine install --respect`.\n[agent]\nnamespaces = [{listed}]\n"
        target = Path(paths.CONFIG_DIR) / _RESPECT
        if put(target, text.encode(), changes):
            said.append(f"wrote {target}")
    return said


def cluster(options: Options, changes: Changes) -> str:
    """Who this node is in its cluster: the kubeconfig, for sync alone to read, and the Node's name."""
    said = []
    if options.kubeconfig is not None:
        target = Path(paths.KUBECONFIG)
        data = options.kubeconfig.read_bytes()
        if put(target, data, changes, mode=0o640):
            said.append(f"wrote {target}")
        shutil.chown(target, "root", paths.GROUP)
    if options.node_name:
        target = Path(paths.CONFIG_DIR) / _NODE
        head = "# Written by `tambourine join` or `tambourine install --node-name`."
        text = f'{head}\n[cluster]\nnode_name = "{options.node_name}"\n'
        if put(target, text.encode(), changes):
            said.append(f"wrote {target}")
        run(str(COMMAND), "config")
    return "; ".join(said)


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


def certificates() -> str:
    """The private authority, the server's and the client's certificate: what is missing of them."""
    said = run(str(COMMAND), "pki", "init").strip()
    return "" if said.startswith("nothing to do") else f"made in {paths.PKI}"


def units(changes: Changes) -> str:
    """The unit files. A daemon-reload follows even when nothing changed: the one before us may have ended between."""
    changed = [
        name
        for name in UNITS
        if put(LOCAL / "systemd/system" / name, (SHARE / "systemd" / name).read_bytes(), changes)
    ]
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


def start(changes: Changes) -> str:
    """Start what does not run; restart all when something changed. The services that we manage are not touched by that."""
    if changes.pending:
        _systemctl("restart")
        changes.settled()
        return "restarted with what has changed"
    if succeeds("systemctl", "is-active", "--quiet", *_expected()):
        return ""
    _systemctl("start")
    return "started"


def _expected() -> tuple[str, ...]:
    """The services that shall be active here."""
    always = (*SERVICES, RENEWAL)
    return (*always, SYNC) if Path(paths.KUBECONFIG).exists() else always


def _systemctl(verb: str) -> None:
    # A service that fails is started again and again, and systemctl waits for it as long.
    try:
        run("systemctl", verb, *SERVICES, SYNC, RENEWAL, timeout=_HEALTHY_SECONDS)
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
