"""The host's configuration: the daemons read it when they start, so that an error in it waits for the next start."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tambourinefs import configfile
from tambourinefs.doctor.finding import Finding
from tambourinefs.doctor.patient import DAEMONS, quoted, restart
from tambourinefs.errors import InvalidConfig
from tambourinefs.model.config import Config

if TYPE_CHECKING:
    from collections.abc import Iterator


def probe(path: str) -> tuple[Config, InvalidConfig | None]:
    """The configuration, or the defaults and what is wrong with it: the other checks go on by them."""
    try:
        return configfile.load(path).config, None
    except InvalidConfig as error:
        return Config(), error


def verdict(error: InvalidConfig | None) -> Iterator[Finding]:
    """One finding."""
    if error is None:
        yield Finding("configuration", "ok", "can be read, and every key and value is known")
        return
    mend = "tambourine config"
    if error.source:
        away = quoted(f"{error.source}.wrong")
        mend = f"mv {quoted(error.source)} {away} && {restart(*DAEMONS)}"
    yield Finding("configuration", "error", error.message, mend)
