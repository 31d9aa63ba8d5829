"""Fixtures that several modules of this lane share."""

from __future__ import annotations

from tests.functional.bombshells import (
    bombshell,
    bombshell_home,
    client,
    make_bombshell,
    shared_bombshell,
    stub,
)
from tests.functional.loop_disk import loop_disk
from tests.functional.silo_host import disk_directory, make_silo, shared_silo, silo

__all__ = [
    "bombshell",
    "bombshell_home",
    "client",
    "disk_directory",
    "loop_disk",
    "make_bombshell",
    "make_silo",
    "shared_bombshell",
    "shared_silo",
    "silo",
    "stub",
]
