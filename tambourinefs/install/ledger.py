"""What the installation has made on this host: by this the next one knows ours from others', and the removal what to take.

/var/lib/tambourine/install.json. A path is written down before it is made, so that a kill between the two leaves nothing
that looks like another's.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from tambourinefs import files
from tambourinefs.errors import HostError
from tambourinefs.model import paths

FILE: Final = Path(paths.STATE) / "install.json"
VERSION: Final = 1


class Ledger:
    """The paths, users and groups that are ours. `file` is where it is kept; missing, it is empty.

    Raises HostError where it cannot be read, or was written by a later version.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._made: set[str] = set()
        self.build = ""  # digest of the package that the services were last started from
        self.config = ""  # sha256 of the shipped config.toml that was put there last
        self.existed = file.is_file()
        if not self.existed:
            return
        try:
            found = json.loads(file.read_text())
            version = int(found["version"])
            self._made = {str(path) for path in found["made"]}
            self.build, self.config = str(found["build"]), str(found["config"])
        except (ValueError, TypeError, KeyError) as error:
            raise HostError(
                f"{file} cannot be read: {error}",
                hint="Remove it. Installed files then count as another owner's, and are named.",
            ) from error
        if version > VERSION:
            raise HostError(
                f"{file} was written by a later version of Tambourine",
                hint="Install that version or a later one; or remove Tambourine first: tambourine uninstall",
            )

    def __contains__(self, path: str | Path) -> bool:
        return str(path) in self._made

    @property
    def made(self) -> list[str]:
        """All of them: absolute paths, `user:NAME` and `group:NAME`."""
        return sorted(self._made)

    def add(self, *made: str | Path) -> None:
        """Remember these from now on, durably. Raises OSError."""
        new = {str(path) for path in made} - self._made
        if new:
            self._made |= new
            self.save()

    def drop(self, made: Iterable[str]) -> None:
        """They are gone. Raises OSError."""
        gone = self._made & set(made)
        if gone:
            self._made -= gone
            self.save()

    def save(self) -> None:
        """Write it down, whole and durably. Raises OSError."""
        self._file.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        data = json.dumps(
            {"version": VERSION, "made": self.made, "build": self.build, "config": self.config},
            indent=1,
        )
        files.replace_file_durably(self._file, f"{data}\n".encode(), mode=0o644)
