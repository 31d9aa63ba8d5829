"""`make demo-machine`: Tambourine on a whole Debian machine, step by step, then a shell there."""

from __future__ import annotations

import sys
from typing import Final

from tests.lab.tools import LabError, say
from tests.machine import installing
from tests.machine.image import image
from tests.machine.machine import CommandFailed, Machine, created

STEPS: Final = (
    (
        "A real machine: Debian's kernel, its own disk",
        "uname -sr; findmnt -no SOURCE,FSTYPE /; systemctl is-system-running",
    ),
    (
        "The path that the founding document names",
        "findmnt /proc/tambourine; lsmod | grep -w tambourine",
    ),
    ("A service", "tambourine apply -f k8s/examples/hello.yaml --timeout 240"),
    ("Its status is a file, and what systemd says", "cat /proc/tambourine/local/hello/status"),
    ("The module stays while the mount is there", "! rmmod tambourine"),
)


def main() -> int:
    """The exit status: 0 when every step did what it should."""
    with created(image()) as machine:
        machine.start()
        installing.install(machine)
        for title, command in STEPS:
            show(machine, title, command)
        if sys.stdin.isatty():
            print(
                "\nA shell on the machine; everything of it is gone when you leave it (exit).",
                flush=True,
            )
            machine.shell()
        else:
            say("machine: there is no terminal here, so no shell: that was it")
    return 0


def show(machine: Machine, title: str, command: str) -> None:
    print(f"\n== {title}\nmachine# {command}", flush=True)
    done = machine.run("sh", "-c", f"cd /root; exec 2>&1; {command}")
    print(done.stdout, end="", flush=True)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (LabError, CommandFailed) as error:
        sys.exit(f"error: {error}")
