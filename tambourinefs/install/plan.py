"""What an installation consists of: where from, and the steps in their order."""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Final

from tambourinefs.errors import HostError
from tambourinefs.install.ledger import Ledger


@dataclass(frozen=True)
class Options:
    """What the administrator asked for."""

    source: Path | None = (
        None  # a source tree or a wheel; None: `tambourinefs` from the wheelhouse or the index
    )
    wheelhouse: Path | None = None  # take every package from here, nothing from the network
    allow_namespaces: tuple[str, ...] = ()  # besides `local`
    kubeconfig: Path | None = None  # who this node is at the API server
    node_name: str = ""  # its Node's name; "" is the host's
    start: bool = True
    dry_run: bool = False
    packaged: bool = False  # a Debian package brings environment, command and units
    root: Path = Path("/")  # of an image: nothing is started, nothing of this machine is touched

    @property
    def image(self) -> bool:
        """Whether this is for a host that is not the one that we run on."""
        return self.root != Path("/")

    @property
    def starts(self) -> bool:
        """Whether there is a systemd to talk to: not in an image, be it a directory or the root that we run in (a package
        in a chroot).
        """
        return not self.image and Path("/run/systemd/system").is_dir()

    def at(self, path: str | PurePath) -> Path:
        """Where the host's `path` is as seen from here."""
        return self.root / str(path).lstrip("/")

    def program(self, *argv: str) -> tuple[str, ...]:
        """The command line that runs a program of the host."""
        return ("chroot", str(self.root), *argv) if self.image else argv


# Exists while something has changed that the services were not restarted with. In /run: a boot restarts them all.
PENDING: Final = Path("/run/tambourine-install-pending")


class Changes:
    """Whether anything has changed that the services must be restarted for, by us or by one before us that was killed;
    and the ledger of what is ours.
    """

    def __init__(self, ledger: Ledger, *, image: bool = False) -> None:
        self.ledger = ledger
        self._image = image

    def note(self) -> None:
        """To be called before a change is made."""
        if not self._image:
            PENDING.touch()

    @property
    def pending(self) -> bool:
        return PENDING.exists()

    def settled(self) -> None:
        """The services have been restarted."""
        PENDING.unlink(missing_ok=True)


@dataclass(frozen=True)
class Step:
    """One line of the installation: `do` returns what it did, in words, or "" where nothing was to do; or HostError."""

    title: str
    do: Callable[[Changes], str]
    looks: bool = False  # changes nothing, and so is done in a dry run, too


def carry_out(
    steps: Sequence[Step], say: Callable[[str], None], changes: Changes, *, dry_run: bool = False
) -> None:
    """Do the steps and say of each what it did.

    Raises HostError, with what to do when a step could not come to its end.
    """
    for step in steps:
        if dry_run and not step.looks:
            say(f"would: {step.title}")
            continue
        try:
            done = step.do(changes)
        except OSError as error:
            raise HostError(
                f"{step.title}: {error.filename or ''}: {error.strerror or error}",
                hint=_HINTS.get(error.errno or 0, _AGAIN),
            ) from error
        say(f"{step.title}: {done or 'as it should be'}")


_AGAIN: Final = "Fix it and run this again: it continues where it stopped."
_HINTS: Final = {
    errno.ENOSPC: "The disk is full: free space and run this again, it continues where it stopped.",
    errno.EDQUOT: "The quota is used up: free space and run this again, it continues where it stopped.",
    errno.EROFS: "The file system is read-only: remount it writable (mount -o remount,rw) and run this again.",
}
