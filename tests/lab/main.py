"""The command line of the lab."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from tests.lab import controlplane, kubebuild, kubeplugin, lab, machine, tools
from tests.lab.controlplane import ControlPlane
from tests.lab.hosts import Host
from tests.lab.state import LabState
from tests.lab.tools import LabError, say

HELP = """\
Systemd machines on this one, for tests, demos and interactive use. Needs root.

  lab up                  one host, h1, with this tree's Tambourine installed and running
  lab up --hosts 2 --bare two hosts without Tambourine
  lab exec h1 tambourine get
  lab exec h1 sh -c 'cat >/etc/motd' <file      passes standard input, arguments and exit status
  lab shell h1            a shell on h1; the checkout is at /src, read-only
  lab reboot h1 | stop h1 | start h1
  lab crash h1            cut the power: /etc and /var lose what was not fsynced; `lab start h1` boots again
  lab up --kubernetes     with etcd, API server and controller manager (the first run builds them)
  lab kubectl get nodes   kubectl (with `kubectl tambourine`) as administrator; `lab env` prints exports
  lab api stop | start    stop or start the API server
  lab api snapshot FILE | restore FILE | replace   save etcd's content, restore it, or start an empty cluster
  lab status              list what is running
  lab down                remove the lab

A host is an overlay of this machine's / with its own network, cgroups, and ext4 for /etc and /var.
Units that are enabled on this machine do not run in it. --name selects a lab other than the default;
each checkout has its own labs.
"""


def main() -> None:
    """Run the command; a LabError is one line and exit status 1."""
    options = _parser().parse_args()
    try:
        tools.check()
        sys.exit(options.do(LabState(options.name), options))
    except LabError as error:
        say(f"lab: {error}")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "lab", description=HELP, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--name", default="default", help="which lab of this checkout")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    add = commands.add_parser("up", help="make the lab (cleared first when it was interrupted)")
    add.add_argument("--hosts", type=int, default=1, metavar="N")
    add.add_argument("--bare", action="store_true", help="without Tambourine")
    add.add_argument(
        "--prepared", action="store_true", help="without Tambourine, but with the packages it needs"
    )
    add.add_argument("--kubernetes", action="store_true", help="with a control plane")
    add.add_argument(
        "--owner", type=int, metavar="PID", help="down by itself when this process ends"
    )
    # Also accepted behind the command, where people put it; absent there, the one before stays.
    add.add_argument("--name", default=argparse.SUPPRESS, help="which lab of this checkout")
    add.set_defaults(do=_up)
    add = commands.add_parser("exec", help="run a command inside a host")
    add.add_argument("host")
    add.add_argument("argv", nargs=argparse.REMAINDER, metavar="COMMAND…")
    add.set_defaults(do=_exec)
    add = commands.add_parser("kubectl", help="the lab's kubectl, as its administrator")
    add.add_argument("argv", nargs=argparse.REMAINDER, metavar="ARGUMENT…")
    add.set_defaults(do=_kubectl)
    add = commands.add_parser("env", help="exports for your own tools: eval $(lab env)")
    add.set_defaults(do=_env)
    add = commands.add_parser("api", help="stop, start, snapshot, restore, replace the API server")
    add.add_argument("what", choices=["stop", "start", "snapshot", "restore", "replace"])
    add.add_argument("file", nargs="?", type=Path, help="of a snapshot (tar)")
    add.set_defaults(do=_api)
    add = commands.add_parser("shell", help="a shell on a host")
    add.add_argument("host")
    add.set_defaults(do=_shell)
    for name, method, text in (
        ("reboot", Host.reboot, "shut down and boot"),
        ("crash", Host.crash, "cut the power"),
        ("start", Host.start, "boot a host that is off"),
        ("stop", Host.stop, "shut down"),
    ):
        add = commands.add_parser(name, help=text)
        add.add_argument("host")
        add.set_defaults(do=_power, method=method)
    action: Callable[[LabState, argparse.Namespace], int]
    for name, action, text in (
        ("status", _status, "list what is running"),
        ("down", _down, "remove the lab"),
    ):
        add = commands.add_parser(name, help=text)
        add.add_argument("--name", default=argparse.SUPPRESS, help="which lab of this checkout")
        add.set_defaults(do=action)
    return parser


def _up(state: LabState, options: argparse.Namespace) -> int:
    kind: lab.Kind = "bare" if options.bare else "prepared" if options.prepared else "installed"
    lab.up(
        state,
        hosts=options.hosts,
        kind=kind,
        owner=options.owner,
        kubernetes=options.kubernetes,
    )
    return 0


def _kubectl(state: LabState, options: argparse.Namespace) -> int:
    plane = ControlPlane(state)
    plane.read()  # LabError without a control plane
    kubectl = str(kubebuild.programs() / "kubectl")
    environment = {**os.environ, **kubeplugin.environment(plane)}
    os.execve(kubectl, [kubectl, *options.argv], environment)


def _env(state: LabState, _: argparse.Namespace) -> int:
    plane = ControlPlane(state)
    plane.read()
    print(f"export KUBECONFIG={plane.kubeconfig}")
    print(f"export PATH={plane.plugin}:{kubebuild.programs()}:$PATH")
    return 0


def _api(state: LabState, options: argparse.Namespace) -> int:
    plane = ControlPlane(state)
    if options.what in {"snapshot", "restore"} and options.file is None:
        raise LabError(f"api {options.what}: which file?")
    with state.lock():
        match options.what:
            case "stop":
                controlplane.stop(plane)
            case "start":
                controlplane.start(plane)
            case "snapshot":
                controlplane.snapshot(plane, options.file)
            case "restore":
                controlplane.restore(plane, options.file)
            case "replace":
                controlplane.replace(plane)
    return 0


def _down(state: LabState, _: argparse.Namespace) -> int:
    lab.down(state)
    return 0


def _exec(state: LabState, options: argparse.Namespace) -> int:
    host = state.host(options.host)
    argv = options.argv[1:] if options.argv[:1] == ["--"] else options.argv
    if not argv:
        raise LabError("exec: which command?")
    command = machine.command(host, argv)
    signal.signal(
        signal.SIGPIPE, signal.SIG_DFL
    )  # Python ignores it; the command would inherit that
    environment = {**machine.ENVIRONMENT, "TERM": os.environ.get("TERM", "dumb")}
    os.execve(command[0], command, environment)


def _shell(state: LabState, options: argparse.Namespace) -> int:
    # script(1) opens a terminal on the host: job control does not reach across process namespaces.
    options.argv = ["script", "--quiet", "--return", "--command", "exec bash --login", "/dev/null"]
    return _exec(state, options)


def _power(state: LabState, options: argparse.Namespace) -> int:
    options.method(Host(state.host(options.host)))
    return 0


def _status(state: LabState, _: argparse.Namespace) -> int:
    hosts, plane = state.hosts(), ControlPlane(state)
    if not hosts and not plane.directory.exists():
        print(f"lab {state.name}: down")
        return 1
    for host in hosts:
        try:
            print(f"{host.name}  on   PID 1 is {host.leader().pid} here, console {host.console}")
        except LabError:
            print(f"{host.name}  off")
    if plane.directory.exists():
        off = [name for name in controlplane.COMPONENTS if not plane.runs(name)]
        print(f"API server at {plane.server}" + (f" (off: {' '.join(off)})" if off else ""))
    return 0
