"""What an installation without the package left on a host that has the package now: its units would hide the package's."""

from __future__ import annotations

from tambourinefs.install import host
from tambourinefs.install.plan import Changes
from tambourinefs.install.programs import succeeds


def remove(changes: Changes) -> str:
    """Remove the single files of such an installation; dpkg's preinst removed its environment.

    What was not ours stays: units in /usr/local are the administrator's way to replace ours.
    """
    found = [
        path
        for path in host.places()
        if path in changes.ledger and (path.exists() or path.is_symlink())
    ]
    if found:
        changes.note()
        for path in found:
            path.unlink()
        succeeds("systemctl", "daemon-reload")
    changes.ledger.drop(str(path) for path in host.places())
    return f"removed {', '.join(map(str, found))}" if found else ""
