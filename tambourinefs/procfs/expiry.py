"""When this host's certificates end, for metrics.prom: read again and again, by a task of its own.

Files are read on a thread, so that a slow disk holds up no reader of the mount.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Final

import trio

from tambourinefs.model import certificate

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_log = logging.getLogger(__name__)

EVERY: Final = 60.0  # seconds: a renewed one is in the metrics after that
_MAX_BYTES: Final = 1 << 20


async def watch(
    files: Mapping[str, Path], tell: Callable[[Mapping[str, float]], None], every: float = EVERY
) -> None:
    """A task: tell when each certificate of `files` ends (seconds since 1970), for ever.

    What is not there, or is no certificate, is left out.
    """
    while True:
        tell(await trio.to_thread.run_sync(ends, files, abandon_on_cancel=True))
        await trio.sleep(every)


def ends(files: Mapping[str, Path]) -> dict[str, float]:
    """When each of them ends."""
    found = {}
    for name, path in files.items():
        try:
            with path.open("rb") as file:
                found[name] = certificate.validity(file.read(_MAX_BYTES))[1]
        except (OSError, ValueError) as error:
            _log.debug("%s: %s", path, error)
    return found
