"""The host's configuration. Daemons read it at start, so an error shows only at the next restart."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from tambourinefs import configfile
from tambourinefs.doctor.check import DAEMONS, Finding, restart
from tambourinefs.errors import InvalidConfig
from tambourinefs.model.config import Config

if TYPE_CHECKING:
    from collections.abc import Iterator


def probe(path: str) -> tuple[Config, InvalidConfig | None]:
    """The configuration; with an error the defaults, which the other checks use then."""
    try:
        return configfile.load(path).config, None
    except InvalidConfig as error:
        return Config(), error


def findings(error: InvalidConfig | None) -> Iterator[Finding]:
    """One finding."""
    if error is None:
        yield Finding("configuration", "ok", "valid")
        return
    fix = "tambourine config"
    if error.source:
        away = shlex.quote(f"{error.source}.wrong")
        fix = f"mv {shlex.quote(error.source)} {away} && {restart(*DAEMONS)}"
    yield Finding("configuration", "error", error.message, fix)
