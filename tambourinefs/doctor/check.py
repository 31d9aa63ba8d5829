"""What all checks share: the context, a finding, and commands that fix problems. Pure."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from tambourinefs.model import paths
from tambourinefs.model.config import Config

if TYPE_CHECKING:
    from collections.abc import Iterable

SILO: Final = "tambourine-silo.service"
AGENT: Final = "tambourine.service"
BOMBSHELL: Final = "tambourine-bombshell.service"
SYNC: Final = "tambourine-sync.service"
PROC_MOUNT: Final = "proc-tambourine.mount"
MODULE: Final = "tambourine-module.service"  # started and stopped with PROC_MOUNT
RENEWAL_TIMER: Final = "tambourine-pki-renew.timer"
RENEWAL: Final = "tambourine-pki-renew.service"
DAEMONS: Final = (SILO, AGENT, BOMBSHELL)

FindingState = Literal["ok", "warning", "error", "unknown"]
STATES: Final[tuple[FindingState, ...]] = (
    "ok",
    "unknown",
    "warning",
    "error",
)  # the worst is the last
AS_ROOT: Final = "sudo tambourine doctor"


@dataclass(frozen=True, slots=True)
class CheckContext:
    """`root`: the checks may read everything."""

    config: Config
    root: bool
    now: float  # seconds since 1970, UTC


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of a check.

    `check` is a stable identifier for programs; several findings may share one. `command` is a
    complete shell command for root: it fixes the problem or shows more about it. "" if there is
    none.
    """

    check: str
    state: FindingState
    message: str
    command: str = ""


def worst(findings: Iterable[Finding]) -> FindingState:
    """The worst state of all; "ok" of none."""
    return max((finding.state for finding in findings), key=STATES.index, default="ok")


def needs_root(check: str, what: str) -> Finding:
    """The finding where this user may not read `what`."""
    return Finding(check, "unknown", f"only root can see {what}", AS_ROOT)


def restart(*units: str) -> str:
    """The command; restarting Tambourine's own units does not touch managed services."""
    return f"systemctl restart {' '.join(units)}"


def write_config(name: str, text: str, *units: str) -> str:
    """The command that adds a file to the configuration directory and restarts `units`."""
    target = shlex.quote(str(paths.CONFIG_DIR / name))
    return f"printf {shlex.quote(text)} >{target} && {restart(*units)}"
