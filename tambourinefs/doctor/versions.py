"""Whether the running daemons are those of the installed version."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tambourinefs import __version__
from tambourinefs.doctor.check import AGENT, DAEMONS, SYNC, Finding, restart
from tambourinefs.doctor.commands import read_file
from tambourinefs.model import paths

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tambourinefs.doctor.check import CheckContext

# Written at the end of an installation.
_MARKS: Final = (Path(paths.PREFIX / ".installed"), Path("/var/lib/dpkg/info/tambourine.list"))
_SLACK: Final = 2.0  # seconds


@dataclass(frozen=True, slots=True)
class VersionState:
    """`running`: the agent's version, "" if unknown; `old`: units started before the installation."""

    running: str
    old: tuple[str, ...]


def probe(context: CheckContext, shown: Mapping[str, Mapping[str, str]]) -> VersionState:
    """`shown`: the properties of Tambourine's units."""
    result = read_file(f"{context.config.proc.mountpoint}/version.txt", most=256)
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
    return VersionState(result.stdout.strip() if result.succeeded else "", tuple(old))


def findings(observed: VersionState) -> Iterator[Finding]:
    """One finding."""
    if observed.running and observed.running != __version__:
        text = f"the running agent is {observed.running}, installed is {__version__}"
        yield Finding("version", "warning", text, restart(*(observed.old or (AGENT,))))
    elif observed.old:
        text = f"{', '.join(observed.old)} started before {__version__} was installed"
        yield Finding("version", "warning", text, restart(*observed.old))
    elif not observed.running:
        yield Finding("version", "unknown", f"{__version__} is installed; the agent does not answer")  # fmt: skip
    else:
        yield Finding("version", "ok", f"{__version__} is installed and runs")
