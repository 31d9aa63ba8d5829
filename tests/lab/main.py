"""The command line of the lab."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Callable

from lab import lab, machine, tools
from lab.hosts import Host
from lab.state import LabState
from lab.tools import LabError, say

HELP = """\
Real systemd machines on this one, for tests, the demo and a person at a keyboard. As root.

  lab up                  one host, h1, with this tree's Tambourine installed and running
  lab up --hosts 2 --bare two hosts without Tambourine
  lab exec h1 tambourine get
  lab exec h1 sh -c 'cat >/etc/motd' <file      standard input, arguments, exit status: unchanged
  lab shell h1            a shell in there; the checkout is at /src, read-only
  lab reboot h1 | stop h1 | start h1
  lab crash h1            a power cut: what /etc and /var had not fsynced is lost; `lab start h1` boots again
  lab status              what is up
  lab down                nothing is left

A host is an overlay of this machine's / (the same programs), with /etc and /var on an ext4 of its own, and its own
network and cgroups. Nothing that is enabled on this machine runs in it. --name makes further labs beside the
default one; each checkout has its own.
"""


def main() -> None:
    """Parse, do, and turn LabError into one line and status 1."""
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
    action: Callable[[LabState, argparse.Namespace], int]
    for name, action, text in (
        ("shell", _shell, "a shell inside a host"),
        ("reboot", _reboot, "power off in order and boot"),
        ("crash", _crash, "a power cut"),
        ("start", _start, "boot a host that is off"),
        ("stop", _stop, "power off in order"),
    ):
        add = commands.add_parser(name, help=text)
        add.add_argument("host")
        add.set_defaults(do=action)
    for name, action, text in (
        ("status", _status, "what is up"),
        ("down", _down, "take the lab down; nothing is left"),
    ):
        add = commands.add_parser(name, help=text)
        add.add_argument("--name", default=argparse.SUPPRESS, help="which lab of this checkout")
        add.set_defaults(do=action)
    return parser


def _up(state: LabState, options: argparse.Namespace) -> int:
    kind: lab.Kind = "bare" if options.bare else "prepared" if options.prepared else "installed"
    lab.up(state, hosts=options.hosts, kind=kind, owner=options.owner)
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
    )  # Python ignores it, and what we run would inherit that
    environment = {**machine.ENVIRONMENT, "TERM": os.environ.get("TERM", "dumb")}
    os.execve(command[0], command, environment)


def _shell(state: LabState, options: argparse.Namespace) -> int:
    # script(1) makes a terminal of the host's own: job control does not reach across process namespaces.
    options.argv = ["script", "--quiet", "--return", "--command", "exec bash --login", "/dev/null"]
    return _exec(state, options)


def _reboot(state: LabState, options: argparse.Namespace) -> int:
    Host(state.host(options.host)).reboot()
    return 0


def _crash(state: LabState, options: argparse.Namespace) -> int:
    Host(state.host(options.host)).crash()
    return 0


def _start(state: LabState, options: argparse.Namespace) -> int:
    Host(state.host(options.host)).start()
    return 0


def _stop(state: LabState, options: argparse.Namespace) -> int:
    Host(state.host(options.host)).stop()
    return 0


def _status(state: LabState, _: argparse.Namespace) -> int:
    hosts = state.hosts()
    if not hosts:
        print(f"lab {state.name}: down")
        return 1
    for host in hosts:
        try:
            print(f"{host.name}  on   PID 1 is {host.leader().pid} here, console {host.console}")
        except LabError:
            print(f"{host.name}  off")
    return 0
