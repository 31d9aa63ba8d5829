"""Runs all checks in parallel, each with a deadline; a failure of one does not hide another."""

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
    mountpoints,
    services,
    socket,
    units,
    versions,
)
from tambourinefs.doctor.check import CheckContext, Finding

SECONDS: Final = 30.0  # for all of them; a check that takes longer is abandoned

Check = Callable[[CheckContext], Iterable[Finding]]


def _units_and_version(context: CheckContext) -> Iterable[Finding]:
    observed = units.probe()
    yield from units.findings(observed, root=context.root)
    yield from versions.findings(versions.probe(context, observed.shown))


# In the order of the output: later checks depend on earlier ones.
CHECKS: Final[dict[str, Check]] = {
    "kernel": lambda p: kernel.findings(kernel.probe(root=p.root)),
    "module": lambda p: module.findings(module.probe(p)),
    "clock": lambda _: clock.findings(clock.probe()),
    "disk": lambda p: disk.findings(disk.probe(p)),
    "dbus": lambda _: bus.findings(bus.probe()),
    "units": _units_and_version,
    "mounts": lambda p: mountpoints.findings(mountpoints.probe(p), p),
    "certificates": lambda p: certificates.findings(
        certificates.probe(Path(p.config.bombshell.pki)), p
    ),
    "socket": lambda p: socket.findings(socket.probe(p.config.bombshell), root=p.root),
    "manifests": lambda p: services.findings(services.probe(p)),
    "cluster": lambda p: cluster.findings(cluster.probe(p), p),
}


def run_checks(config_file: str) -> list[Finding]:
    """Every finding, in the order of CHECKS."""
    config, error = configuration.probe(config_file)
    context = CheckContext(config, os.geteuid() == 0, time.time())
    return [*configuration.findings(error), *run_in_parallel(CHECKS, context, SECONDS)]


def run_in_parallel(
    checks: dict[str, Check], context: CheckContext, seconds: float
) -> list[Finding]:
    """The findings of all checks; a check that fails or takes too long is a finding itself."""
    found: dict[str, list[Finding]] = {}

    def run(name: str, check: Check) -> None:
        try:
            found[name] = list(check(context))
        except Exception as failure:
            text = f"the check failed: {type(failure).__name__}: {failure}"
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
