"""A lab: several hosts that come and go together."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from dataclasses import asdict
from typing import Final, Literal

from tests.lab import (
    background,
    cluster,
    controlplane,
    kubecontroller,
    kubejoin,
    kubenet,
    kubeplugin,
    layer,
    machine,
    tools,
    tree,
)
from tests.lab.controlplane import ControlPlane
from tests.lab.state import BASE, HostState, LabState, Process
from tests.lab.tools import LabError, run, say

Kind = Literal["installed", "prepared", "bare"]
INSTALL: Final = (
    "/usr/bin/python3", "-m", "tambourinefs.install", f"--wheelhouse={tree.WHEELS}",
)  # fmt: skip


def up(
    lab: LabState,
    *,
    hosts: int,
    kind: Kind = "installed",
    owner: int | None = None,
    kubernetes: bool = False,
) -> list[HostState]:
    """Make the lab and return its hosts when all have booted.

    `kind`: with Tambourine installed and running, or prepared for it (the Python packages are in place), or bare.
    A lab that is already up stays as it is; anything else that is in its place is cleared first.
    `kubernetes`: with a control plane that the hosts can reach; without hosts where `hosts` is 0.
    `owner`: the lab goes down by itself when this process ends.
    """
    tools.check()
    tools.make_room()
    clear_orphans()
    wanted: dict[str, object] = {"hosts": hosts, "kind": kind, "kubernetes": kubernetes}
    with lab.lock():
        if _is_up(lab, wanted):
            say(f"lab {lab.name}: up already")
            return lab.hosts()
        _clear(lab)
        lab.directory.mkdir(parents=True)
        try:
            _make(lab, hosts=hosts, kind=kind, owner=owner, kubernetes=kubernetes)
            _mark_complete(lab, wanted)
        except BaseException:
            _clear(lab)
            raise
        return lab.hosts()


def _make(lab: LabState, *, hosts: int, kind: Kind, owner: int | None, kubernetes: bool) -> None:
    if owner is not None:
        _watch_owner(lab, owner)
    made = [HostState(lab, f"h{number}") for number in range(1, hosts + 1)]
    if made:
        found = layer.prepared()
        layers = {
            "installed": [found.package, found.packages],
            "prepared": [found.packages],
            "bare": [],
        }[kind]
        for host in made:
            machine.create(host, image=found.disk, layers=layers, house=found.house)
            machine.start(host)
    if kubernetes:
        controlplane.up(ControlPlane(lab))
        cluster.prepare(ControlPlane(lab), [host.name for host in made])
        say(f"control plane: ready at {ControlPlane(lab).server}")
    for host in made:
        machine.wait_booted(host)
        plug(host)
    if kind == "installed":
        _install(made, start=not kubernetes)  # joining restarts all
        if kubernetes and made:
            kubeplugin.lay(ControlPlane(lab).plugin, layer.python())
            kubecontroller.start(ControlPlane(lab))
            kubejoin.join(ControlPlane(lab), made)
    for host in made:
        say(f"{host.name}: running" + (", with Tambourine" if kind == "installed" else ""))


def _install(hosts: list[HostState], *, start: bool) -> None:
    """What a person would do on a host without a network, on all of them side by side."""
    argv = ["env", f"PYTHONPATH={tree.SOURCE}", *INSTALL, *([] if start else ["--no-start"])]
    started = [
        (host, subprocess.Popen(
            machine.command(host, argv),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env=machine.ENVIRONMENT,
        ))
        for host in hosts
    ]  # fmt: skip
    for host, process in started:
        said, _ = process.communicate(timeout=300)
        if process.returncode != 0:
            raise LabError(f"installing on {host.name}: {said.strip()}")


def plug(host: HostState) -> None:
    """Connect a host that has booted with the lab's control plane, where it has one."""
    plane = ControlPlane(host.lab)
    if plane.directory.exists():
        kubenet.plug(plane.holder, host.leader().pid, plane.subnet, int(host.name[1:]))


def down(lab: LabState) -> None:
    """Nothing is left: no process, mount, namespace, cgroup, loop device, file. Fine when there is no lab."""
    with lab.lock():
        _clear(lab)
        lab.forget()


def clear_orphans() -> None:
    """Take down the labs of this machine whose owner ended without their watcher (itself killed)."""
    for directory in BASE.glob("tl-*-*/owner.json"):
        try:
            owner = json.loads(directory.read_text())["owner"]
        except (FileNotFoundError, ValueError):  # just going down, or half written by a killed one
            continue
        name = directory.parent.name.split("-", 2)[2]
        lab = LabState(name)
        if lab.directory == directory.parent and not Process(**owner).alive():
            down(lab)


def _is_up(lab: LabState, wanted: dict[str, object]) -> bool:
    try:
        if json.loads((lab.directory / "complete.json").read_text()) != wanted:
            return False
        for host in lab.hosts():
            host.leader()
        if wanted["kubernetes"]:
            for name in controlplane.COMPONENTS:
                ControlPlane(lab).process(name)
    except (FileNotFoundError, LabError):
        return False
    return True


def _mark_complete(lab: LabState, wanted: dict[str, object]) -> None:
    (lab.directory / "complete.json").write_text(json.dumps(wanted))


def _clear(lab: LabState) -> None:
    for path in lab.directory.glob("h*"):
        machine.destroy(HostState(lab, path.name))
    controlplane.down(ControlPlane(lab))
    _end_watcher(lab)
    run("rm", "-rf", "--one-file-system", "--", str(lab.directory))


def _watch_owner(lab: LabState, owner: int) -> None:
    """Start the process that takes the lab down when its owner ends, however it ends."""
    watcher = background.spawn("tests.lab.watcher", str(owner), lab.name)
    record = {"owner": asdict(Process.of(owner)), "watcher": asdict(watcher)}
    (lab.directory / "owner.json").write_text(json.dumps(record))


def _end_watcher(lab: LabState) -> None:
    try:
        watcher = Process(**json.loads((lab.directory / "owner.json").read_text())["watcher"])
    except FileNotFoundError:
        return
    if watcher.pid != os.getpid() and watcher.alive():
        os.kill(watcher.pid, signal.SIGKILL)
