"""The single files of an installation without the package, where they shall go: at the removal, and where the package, whose
units they would hide, takes its place.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from tambourinefs.install import host
from tambourinefs.install.ledger import Ledger
from tambourinefs.install.plan import Changes
from tambourinefs.install.programs import succeeds


def remove(changes: Changes) -> str:
    """Remove what such an installation left; the package's preinst moved its environment away.

    What was not ours stays: units in /usr/local are the administrator's way to replace ours.
    """
    if any(path in changes.ledger for path in host.places()):
        changes.note()
    found = take_away(changes.ledger)
    if found:
        succeeds("systemctl", "daemon-reload")
    return f"removed {', '.join(map(str, found))}" if found else ""


def take_away(ledger: Ledger, *, all_are_ours: bool = False) -> list[Path]:
    """Remove those that the ledger names (`all_are_ours`: each) and the directories that were made for them, where nothing
    else is there now. Returns the files.
    """
    found = [
        path
        for path in host.places()
        if (all_are_ours or path in ledger) and (path.exists() or path.is_symlink())
    ]
    for path in found:
        path.unlink()
    above = {directory for path in host.places() for directory in path.parents}
    made = sorted((d for d in above if d in ledger), key=lambda d: len(d.parts), reverse=True)
    for directory in made:
        with suppress(OSError):  # it has other files, or it is gone
            directory.rmdir()
    ledger.drop(map(str, (*host.places(), *made)))
    return found
