"""What e2e tests ask of a host with Tambourine: does the whole chain work?"""

from __future__ import annotations

import socket
from collections.abc import Callable

from lab.hosts import Host
from looks import until

SILO = "tambourine-silo.service"
AGENT = "tambourine.service"
BOMBSHELL = "tambourine-bombshell.service"
DAEMONS = (SILO, AGENT, BOMBSHELL)

MANIFEST = """\
apiVersion: tambourine.dev/v1alpha1
kind: Tambourine
metadata:
  name: {name}
spec:
  name: {name}
  command: start
  unit: |
    [Service]
    ExecStart=/bin/sleep infinity
    # {mark}
"""


def wait_until(
    condition: Callable[[], object], seconds: float, what: str, *, fleeting: bool = False
) -> float:
    """Wait for a condition with a deadline, closely where it soon passes; returns how many seconds it took."""
    return until(condition, seconds, what, share=1.0 if fleeting else 4.0)


def prop(host: Host, unit: str, name: str) -> str:
    """One property of a unit, as systemd says it."""
    return host.run("systemctl", "show", "--property", name, "--value", unit).stdout.strip()


def pids(host: Host, *units: str) -> tuple[int, ...]:
    """The main processes; 0 where there is none."""
    return tuple(int(prop(host, unit, "MainPID")) for unit in units)


def apply(host: Host, name: str, mark: object = "") -> None:
    """Through the whole chain: command line, Bombshell, silo, agent, systemd, status, Bombshell, command line."""
    text = MANIFEST.format(name=name, mark=mark)
    host.run("tambourine", "apply", "-f", "-", "--timeout", "20", input=text)


def delete(host: Host, name: str) -> None:
    host.run("tambourine", "delete", name)


def answers(host: Host) -> bool:
    """Both mounts are read in PID 1's mount namespace, and a call goes through Bombshell to each."""
    try:
        if not (host.root / "var/lib/tambourine/silo/.tambourine-silo").read_text().strip():
            return False
        if not (host.root / "run/tambourine/proc/version.txt").read_text().strip():
            return False
        with socket.socket(
            socket.AF_UNIX
        ) as bombshell:  # a program that finds nobody there costs more
            bombshell.connect(str(host.root / "run/tambourine/bombshell/bombshell.sock"))
    except OSError:
        return False
    return host.run("tambourine", "get", check=False).returncode == 0


def wait_answering(host: Host, seconds: float = 10) -> float:
    return wait_until(lambda: answers(host), seconds, "the chain answers")
