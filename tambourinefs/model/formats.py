"""In which format this program keeps the applied state of a host on its disk: the agent and the installation ask here.

The number goes up when a record changes so that an older program would read it wrongly; the way from the one before is a
step in agent/state/migrations.py. debian/rules reads the number here for the package's preinst.
"""

from __future__ import annotations

import re
from typing import Final

from tambourinefs.errors import HostError
from tambourinefs.model.names import printable

APPLIED: Final = 1


def applied(text: str, directory: object) -> int:
    """The number that the file `version` of the applied state in `directory` holds; ours for an empty text, of a new state.

    Raises HostError where a later program wrote it, whose records this one would read wrongly, or where it is no number.
    """
    found = text.strip()
    if not found:
        return APPLIED
    if not re.fullmatch(r"[1-9][0-9]{0,8}", found):
        raise HostError(
            f'{directory}/version cannot be read: expected a number, got "{printable(found[:20])}"',
            hint="Write the number that its records (services/*.json) have into it, 1 where they have none.",
        )
    if int(found) > APPLIED:
        raise HostError(
            f"applied state in {directory} has version {found}, written by a later Tambourine; this one knows {APPLIED}",
            hint="Install the version that wrote it, or a later one. To go back nevertheless, remove that one first "
            "(services can be kept): tambourine uninstall, or apt purge tambourine.",
        )
    return int(found)
