"""The version of the applied state on disk, for the agent, the installer and debian/rules.

It is incremented when another version would misread a record.
"""

from __future__ import annotations

import re
from typing import Final

from tambourinefs.errors import HostError
from tambourinefs.model.names import printable

APPLIED: Final = 1


def check_applied(text: str, directory: object) -> None:
    """Check `text`, the content of the file `version` in the state directory; "" for a new one.

    Raises HostError when another version wrote it, or when it is not a number.
    """
    found = text.strip()
    if not found:
        return
    if not re.fullmatch(r"[1-9][0-9]{0,8}", found):
        raise HostError(
            f'{directory}/version is invalid: expected a number, got "{printable(found[:20])}"',
            hint=f"Its records (services/*.json) carry the number: write {APPLIED} if they do.",
        )
    if int(found) != APPLIED:
        age = "a later" if int(found) > APPLIED else "an earlier"
        raise HostError(
            f"applied state in {directory} has version {found}, written by {age} Tambourine; "
            f"this one reads version {APPLIED}",
            hint="Install the version that wrote it. To use this one nevertheless, remove that one "
            "first (services can be kept): tambourine uninstall, or apt purge tambourine.",
        )
