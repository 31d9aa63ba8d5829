"""One line of the examination. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable

State = Literal["ok", "warning", "error", "unknown"]
STATES: Final[tuple[State, ...]] = ("ok", "unknown", "warning", "error")  # the worst is the last
AS_ROOT: Final = "sudo tambourine doctor"


@dataclass(frozen=True, slots=True)
class Finding:
    """What was looked at and how it is.

    `check` is a fixed word for programs; several findings may share one. `command` is for a shell, to be run as root as it
    stands: it mends what `says` tells, or, where nothing on this host can, it shows more. "" where there is nothing to do.
    """

    check: str
    state: State
    says: str
    command: str = ""


def worst(findings: Iterable[Finding]) -> State:
    """The worst state of all; "ok" of none."""
    return max((finding.state for finding in findings), key=STATES.index, default="ok")


def needs_root(check: str, what: str) -> Finding:
    """What cannot be seen by this user is neither good nor bad."""
    return Finding(check, "unknown", f"{what} can be seen by root alone", AS_ROOT)
