"""What an installation consists of: where from, and the steps in their order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final


@dataclass(frozen=True)
class Options:
    """What the administrator asked for."""

    source: Path | None = (
        None  # a source tree or a wheel; None: `tambourinefs` from the wheelhouse or the index
    )
    wheelhouse: Path | None = None  # take every package from here, nothing from the network
    respect: tuple[str, ...] = ()  # namespaces besides `local`
    kubeconfig: Path | None = None  # who this node is at the API server
    node_name: str = ""  # its Node's name; "" is the host's
    start: bool = True
    dry_run: bool = False


# Exists while something has changed that the services were not restarted with. In /run: a boot restarts them all.
PENDING: Final = Path("/run/tambourine-install-pending")


class Changes:
    """Whether anything has changed that the services must be restarted for, by us or by one before us that was killed."""

    def note(self) -> None:
        """To be called before a change is made."""
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


def carry_out(steps: Sequence[Step], say: Callable[[str], None], *, dry_run: bool) -> None:
    """Do the steps and say of each what it did.

    Raises HostError.
    """
    changes = Changes()
    for step in steps:
        if dry_run:
            say(f"would: {step.title}")
            continue
        say(f"{step.title}: {step.do(changes) or 'as it should be'}")
