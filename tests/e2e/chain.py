"""What e2e tests ask of a host with Tambourine: does the whole chain work?"""

from __future__ import annotations

from collections.abc import Callable, Collection

from tambourinefs.errors import TambourineError
from tests.daemons import DAEMONS
from tests.e2e.chaos import client_of, manifest, put, wait_ready
from tests.lab.hosts import Host
from tests.waiting import PATIENCE, until

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
UNIT = "[Service]\nExecStart=/bin/sleep infinity\n# {mark}\n"


def wait_until(
    condition: Callable[[], object],
    what: str,
    *,
    seconds: float = PATIENCE,
    fleeting: bool = False,
) -> float:
    """Wait for a condition with a deadline, closely where it soon passes; returns how many seconds it took."""
    return until(condition, what, seconds=seconds, share=1.0 if fleeting else 4.0)


def prop(host: Host, unit: str, name: str) -> str:
    """One property of a unit, as systemd says it."""
    (found,) = props(host, name, unit)
    return found


def props(host: Host, name: str, *units: str) -> list[str]:
    """One property of each unit, as systemd says it: one look for all, since each costs a program and its bus."""
    said = host.run("systemctl", "show", f"--property={name}", "--value", *units).stdout
    found = said.split("\n")[:-1:2]  # a blank line between two
    assert len(found) == len(units), said
    return found


def pids(host: Host, *units: str) -> tuple[int, ...]:
    """The main processes; 0 where there is none."""
    return tuple(map(int, props(host, "MainPID", *units)))


def ended(host: Host, processes: Collection[int]) -> bool:
    """Whether none of these is there any more, by the host's /proc: that takes no program."""
    return not any((host.root / "proc" / str(pid)).exists() for pid in processes)


def apply(host: Host, name: str, mark: object = "") -> None:
    """Through the whole chain: Bombshell, silo, agent, systemd, status, Bombshell. From this process: the program that a
    person runs is test_cli.py's.
    """
    spec = {"command": "start", "unit": UNIT.format(mark=mark)}
    with client_of(host) as client:
        wait_ready(client, name, put(client, manifest(name, spec)), patience=30)


def delete(host: Host, name: str) -> None:
    host.run("tambourine", "delete", name)


def answers(host: Host) -> bool:
    """Both mounts are read in PID 1's mount namespace, a call goes through Bombshell to each, and systemd is done with all
    three: a mount whose server was killed a moment ago may still answer, from the kernel's memory.
    """
    try:
        if not (host.root / "var/lib/tambourine/silo/.tambourine-silo").read_text().strip():
            return False
        if not (host.root / "run/tambourine/proc/version.txt").read_text().strip():
            return False
        with client_of(host, timeout=5) as client:
            if not client.read("silo", ".tambourine-silo")[1].strip():
                return False
            if not client.read("proc", "services.json")[1].strip():
                return False
    except (OSError, TambourineError):
        return False
    return props(host, "ActiveState", *DAEMONS) == ["active"] * len(DAEMONS)


def wait_answering(host: Host, seconds: float = PATIENCE) -> float:
    return wait_until(lambda: answers(host), "the chain answers", seconds=seconds)
