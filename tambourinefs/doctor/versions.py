"""Does what runs come from what is installed?"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tambourinefs import __version__
from tambourinefs.doctor.ask import read
from tambourinefs.doctor.finding import Finding
from tambourinefs.doctor.patient import AGENT, DAEMONS, SYNC, restart
from tambourinefs.model import paths

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tambourinefs.doctor.patient import Patient

# Written when an installation or a package has put its files into place.
_MARKS: Final = (Path(paths.PREFIX / ".installed"), Path("/var/lib/dpkg/info/tambourine.list"))
_SLACK: Final = 2.0  # seconds


@dataclass(frozen=True, slots=True)
class Facts:
    """`running` is the agent's, "" where it does not tell; `old` the units that run since before the installation."""

    running: str
    old: tuple[str, ...]


def probe(patient: Patient, shown: Mapping[str, Mapping[str, str]]) -> Facts:
    """`shown`: what systemd says of our units."""
    answer = read(f"{patient.config.proc.mountpoint}/version.txt", most=256)
    installed = 0.0
    for mark in _MARKS:
        with suppress(OSError):
            installed = max(installed, mark.stat().st_mtime)
    since_boot = time.time() - time.monotonic()
    old = []
    for name in (*DAEMONS, SYNC):
        one = shown.get(name, {})
        began = int(one.get("ExecMainStartTimestampMonotonic") or 0) / 1e6
        if one.get("ActiveState") == "active" and began + since_boot < installed - _SLACK:
            old.append(name)
    return Facts(answer.out.strip() if answer.good else "", tuple(old))


def verdict(facts: Facts) -> Iterator[Finding]:
    """One finding."""
    if facts.running and facts.running != __version__:
        text = f"the agent that runs is {facts.running}, installed is {__version__}"
        yield Finding("version", "warning", text, restart(*(facts.old or (AGENT,))))
    elif facts.old:
        text = f"{', '.join(facts.old)} began before {__version__} was installed"
        yield Finding("version", "warning", text, restart(*facts.old))
    elif not facts.running:
        yield Finding("version", "unknown", f"{__version__} is installed; the agent does not answer")  # fmt: skip
    else:
        yield Finding("version", "ok", f"{__version__} is installed and runs")
