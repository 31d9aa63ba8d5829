"""Which units have logged something; lines.py reads what.

The reader is at the journal's end and is woken by inotify on its files (sd_journal_get_fd(3)). A
journald that is frozen or gone blocks nothing.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

import trio

from systemd import journal  # type: ignore[attr-defined]

if TYPE_CHECKING:
    from collections.abc import Callable

log: Final = logging.getLogger(__name__)

Units = frozenset[str]

PAUSE: Final = 1.0  # seconds between two reads
AGAIN: Final = 60.0  # seconds until a journal that could not be followed is tried again
MOST: Final = 500  # entries of one read; after more, any unit may have logged something
# The unit of an entry: of the process that wrote it, or that PID 1 or a coredump is about
# (systemd.journal-fields(7)).
_FIELDS: Final = ("_SYSTEMD_UNIT", "UNIT", "OBJECT_SYSTEMD_UNIT", "COREDUMP_UNIT")


async def listen(notify: Callable[[Units | None], None]) -> None:
    """A task: notify of units that have logged something (None: any may have), once in PAUSE at most.

    A journal that is damaged or not there is logged and tried again later: statuses do without it.
    """
    while True:
        try:
            await _follow(notify)
        except OSError as error:
            log.warning("the journal cannot be followed: %s", error.strerror or error)
        await trio.sleep(AGAIN)
        notify(None)


async def _follow(notify: Callable[[Units | None], None]) -> None:
    reader = await trio.to_thread.run_sync(_at_the_end, abandon_on_cancel=True)
    while True:
        await trio.lowlevel.wait_readable(reader.fileno())
        units = await trio.to_thread.run_sync(_new, reader, abandon_on_cancel=True)
        if units is None or units:
            notify(units)
        await trio.sleep(PAUSE)


def _at_the_end() -> Any:
    reader = journal.Reader(journal.LOCAL_ONLY)
    reader.data_threshold = 256  # unit names; messages are not read here
    reader.fileno()  # from here on changes are noticed
    _to_the_end(reader)
    return reader


def _to_the_end(reader: Any) -> None:
    reader.seek_tail()
    reader.get_previous()  # seek_tail alone has no position yet (sd_journal_seek_tail(3))


def _new(reader: Any) -> Units | None:
    reader.process()
    units: set[str] = set()
    for _ in range(MOST):
        entry = reader.get_next()
        if not entry:
            return frozenset(units)
        units.update(str(entry[field]) for field in _FIELDS if field in entry)
    _to_the_end(reader)
    return None
