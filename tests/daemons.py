"""A host's daemons, and what they wrote into its journal."""

from __future__ import annotations

from typing import Final

import pytest

from tests.lab.hosts import Host

SILO: Final = "tambourine-silo.service"
AGENT: Final = "tambourine.service"
BOMBSHELL: Final = "tambourine-bombshell.service"
SYNC: Final = "tambourine-sync.service"
DAEMONS: Final = (SILO, AGENT, BOMBSHELL)


def check_journal(host: Host, since: float) -> None:
    """Fail where a daemon wrote a traceback since then (seconds since 1970)."""
    match = [f"_SYSTEMD_UNIT={unit}" for unit in (*DAEMONS, SYNC)]
    argv = ["journalctl", "--no-pager", "--output=cat", f"--since=@{since:.3f}", *match]
    found = host.run(*argv, check=False).stdout
    if "Traceback (most recent call last)" in found:
        pytest.fail(f"a traceback in the journal of {host.name}:\n{found[-6000:]}", pytrace=False)
