"""What a container needs to reach the network as this machine does: proxies, authorities, pip's settings. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

# Variables that say where to download from, by which proxy, and which authorities to trust.
NETWORK: Final = re.compile(
    r"(PIP|SSL|UV)_\w+|\w+_CA_(BUNDLE|CERTS)|REQUESTS_CA_BUNDLE|(https?|ftp|no|all)_proxy"
    r"|GO(PROXY|SUMDB|NOSUMDB|PRIVATE)",
    re.IGNORECASE,
)
# Settings and authorities of this machine that are files.
FILES: Final = ("/etc/pip.conf", "/etc/hosts", "/usr/local/share/ca-certificates")


def environment(of: Mapping[str, str]) -> dict[str, str]:
    """The variables for the network among those of this machine."""
    return {name: value for name, value in of.items() if NETWORK.fullmatch(name)}


def wheel_directories(of: Mapping[str, str]) -> list[str]:
    """Directories that pip is told to take packages from (PIP_FIND_LINKS)."""
    return [each for each in of.get("PIP_FIND_LINKS", "").split() if each.startswith("/")]


def apt(dump: str) -> str:
    """apt's settings for proxies and authorities, from `apt-config dump`."""
    wanted = re.compile(r"Acquire::\S*(Proxy|CaInfo|CaPath|Verify-\w+)\S* ", re.IGNORECASE)
    return "".join(f"{line}\n" for line in dump.splitlines() if wanted.match(line))
