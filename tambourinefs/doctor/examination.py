"""The whole examination: every group of checks side by side, each with a deadline, and no failure of one hides another."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from tambourinefs.doctor import (
    bus,
    certificates,
    clock,
    cluster,
    configuration,
    disk,
    kernel,
    module,
    mounted,
    services,
    socket,
    units,
    versions,
)
from tambourinefs.doctor.finding import Finding
from tambourinefs.doctor.patient import Patient

SECONDS: Final = 30.0  # for all; a check that takes longer is given up

Check = Callable[[Patient], Iterable[Finding]]


def _units_and_version(patient: Patient) -> Iterable[Finding]:
    facts = units.probe()
    yield from units.verdict(facts, root=patient.root)
    yield from versions.verdict(versions.probe(patient, facts.shown))


# The order is that of the page: what stands below leans on what stands above.
CHECKS: Final[dict[str, Check]] = {
    "kernel": lambda p: kernel.verdict(kernel.probe(root=p.root)),
    "module": lambda p: module.verdict(module.probe(p)),
    "clock": lambda _: clock.verdict(clock.probe()),
    "disk": lambda p: disk.verdict(disk.probe(p)),
    "dbus": lambda _: bus.verdict(bus.probe()),
    "units": _units_and_version,
    "mounts": lambda p: mounted.verdict(mounted.probe(p), p),
    "certificates": lambda p: certificates.verdict(
        certificates.probe(Path(p.config.bombshell.pki)), p
    ),
    "socket": lambda p: socket.verdict(socket.probe(p.config.bombshell), root=p.root),
    "manifests": lambda p: services.verdict(services.probe(p)),
    "cluster": lambda p: cluster.verdict(cluster.probe(p), p),
}


def examine(config_file: str) -> list[Finding]:
    """Every finding, in the order of the page."""
    config, error = configuration.probe(config_file)
    patient = Patient(config, os.geteuid() == 0, time.time())
    return [*configuration.verdict(error), *side_by_side(CHECKS, patient, SECONDS)]


def side_by_side(checks: dict[str, Check], patient: Patient, seconds: float) -> list[Finding]:
    """The findings of all checks; one that fails, or does not end in time, is a finding itself."""
    found: dict[str, list[Finding]] = {}

    def run(name: str, check: Check) -> None:
        try:
            found[name] = list(check(patient))
        except Exception as failure:
            text = f"could not be looked at: {type(failure).__name__}: {failure}"
            found[name] = [Finding(name, "unknown", text)]

    threads = {
        name: threading.Thread(target=run, args=(name, check), daemon=True)
        for name, check in checks.items()
    }
    for thread in threads.values():
        thread.start()
    deadline = time.monotonic() + seconds
    for name, thread in threads.items():
        thread.join(max(deadline - time.monotonic(), 0))
        if name not in found:
            found[name] = [Finding(name, "unknown", f"no answer within {seconds:g} s")]
    return [finding for name in checks for finding in found[name]]
