"""What every check is told of this host: its configuration, and who asks."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import Final

from tambourinefs.model import paths
from tambourinefs.model.config import Config

SILO: Final = "tambourine-silo.service"
AGENT: Final = "tambourine.service"
BOMBSHELL: Final = "tambourine-bombshell.service"
SYNC: Final = "tambourine-sync.service"
LITERAL: Final = "proc-tambourine.mount"
MODULE: Final = "tambourine-module.service"  # comes and goes with it
RENEWAL: Final = "tambourine-pki-renew.timer"
RENEWER: Final = "tambourine-pki-renew.service"  # what the timer starts
DAEMONS: Final = (SILO, AGENT, BOMBSHELL)


@dataclass(frozen=True, slots=True)
class Patient:
    """`root`: the examination may see all."""

    config: Config
    root: bool
    now: float  # seconds since 1970, UTC


def quoted(path: str) -> str:
    """A path as a shell takes it."""
    return shlex.quote(path)


def restart(*units: str) -> str:
    """The command; to restart one of ours touches no service that it manages."""
    return f"systemctl restart {' '.join(units)}"


def overlay(name: str, text: str, *units: str) -> str:
    """A command that lays a file of configuration beside config.toml and has `units` read it."""
    target = quoted(str(paths.CONFIG_DIR / name))
    return f"printf {shlex.quote(text)} >{target} && {restart(*units)}"
