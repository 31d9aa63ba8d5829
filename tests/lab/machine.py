"""One host: boot it, enter it, stop it, cut its power."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.lab import background, cgroups, disk
from tests.lab.state import HostState, Process
from tests.lab.tools import LabError, run, wait_until, which

BOOT_SECONDS: Final = 90
JOIN: Final = Path(__file__).with_name("join")
ENVIRONMENT: Final = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "USER": "root",
    "LOGNAME": "root",
    "SHELL": "/bin/bash",
    "LANG": "C.UTF-8",
}


def create(host: HostState, *, image: Path, layers: Sequence[Path], house: Path) -> None:
    """Make the disk of a new host; nothing runs yet.

    `image` is the disk to copy; `layers` go over /opt/tambourine, the first uppermost; `house` is a directory of wheels.
    """
    host.directory.mkdir(parents=True)
    host.write()
    (host.directory / "layers").write_text(":".join(map(str, layers)))
    (host.directory / "house").write_text(str(house))
    run("cp", "--sparse=always", "--", str(image), str(host.image))
    disk.make_scratch(host.scratch)


def start(host: HostState) -> None:
    """Begin to boot; `wait_booted` waits. The disk's journal is replayed here after a power cut."""
    if host.read():
        raise LabError(f"host {host.name} is on already")
    nspawn = background.spawn("tests.lab.starter", host.lab.name, host.name)
    host.write(pid=nspawn.pid, started=nspawn.started)


def wait_booted(host: HostState) -> None:
    """Return when the boot is finished; LabError with the end of the console log if it fails."""
    wait_until(lambda: _leader(host) is not None, BOOT_SECONDS, f"PID 1 of {host.name}")
    leader = _leader(host)
    assert leader is not None
    values = host.read()
    host.write(**values, leader=leader.pid, leader_started=leader.started)
    wait_until(
        lambda: Path(f"/proc/{leader.pid}/root/run/dbus/system_bus_socket").exists(),
        BOOT_SECONDS,
        f"the bus of {host.name}; its console: {host.console}",
    )
    done = enter(host, ["systemctl", "is-system-running", "--wait"])
    if done.stdout.strip() != "running":
        failed = enter(host, ["systemctl", "--failed", "--no-legend", "--plain"]).stdout
        raise LabError(
            f"host {host.name} is {done.stdout.strip() or done.stderr.strip()}: {failed}"
        )


def _leader(host: HostState) -> Process | None:
    """nspawn's child that is PID 1 inside, once it runs systemd."""
    values = host.read()
    pid = values["pid"]
    if not Process(pid, values["started"]).alive():
        end = host.console.read_text(errors="replace")[-2000:]
        raise LabError(f"host {host.name} did not boot: {end}")
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        try:
            if Path(f"/proc/{child}/comm").read_text() == "systemd\n":
                return Process.of(int(child))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return None


def command(host: HostState, argv: list[str]) -> list[str]:
    """The command line that runs argv inside: in the host's cgroups, so that it ends with the host; in all its
    namespaces; and with an end when the one who waits for it ends.
    """
    leader = host.leader()
    groups = [str(file) for file in cgroups.exec_files(host.machine)]
    enter = [which("nsenter") or "nsenter", f"--target={leader.pid}", "--all", "--wdns=/root", "--"]
    return [str(JOIN), *groups, "--", *enter, "setpriv", "--pdeathsig", "KILL", "--", *argv]


def enter(host: HostState, argv: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a command inside and return what it printed and its exit status."""
    return subprocess.run(
        command(host, argv),
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=BOOT_SECONDS,
        env=ENVIRONMENT,
    )


def stop(host: HostState) -> None:
    """Power off in order: every unit is stopped, the disk is clean."""
    values = host.read()
    if "leader" in values and Process(values["leader"], values["leader_started"]).alive():
        os.kill(values["leader"], signal.SIGRTMIN + 4)  # systemd(1): start poweroff.target
        nspawn = Process(values["pid"], values["started"])
        wait_until(lambda: not nspawn.alive(), BOOT_SECONDS, f"{host.name} to power off")
    end(host)


def crash(host: HostState) -> None:
    """A power cut: the disk goes first, so that nothing a dying process does can reach it."""
    disk.cut_power(Path(f"/proc/{host.leader().pid}/root/var"))
    end(host)


def end(host: HostState) -> None:
    """End all processes, and with the last one all namespaces and mounts."""
    cgroups.end(host.machine)
    cgroups.remove(host.machine)
    wait_until(
        lambda: not (disk.attached(host.image) or disk.attached(host.scratch)),
        60,
        f"the disks of {host.name} to be free",
    )
    host.write()


def destroy(host: HostState) -> None:
    """Nothing of the host is left."""
    end(host)
    run("rm", "-rf", "--one-file-system", "--", str(host.directory))
