"""A bell for the journal: which units have said something. What they said is read by `journal`; this only says look again.

The reader stands at the journal's end and is woken by inotify on its files (sd_journal_get_fd(3)); a journald that is frozen
or gone rings nothing and holds nobody up.
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

PAUSE: Final = 1.0  # seconds between two looks, however much is said
AGAIN: Final = 60.0  # seconds until a journal that could not be followed is tried again
MOST: Final = 500  # entries of one look; where more is said in a second, any unit may have spoken
# Who an entry is of: of the process that wrote it, or the unit that PID 1 or a coredump speaks about
# (systemd.journal-fields(7)).
_FIELDS: Final = ("_SYSTEMD_UNIT", "UNIT", "OBJECT_SYSTEMD_UNIT", "COREDUMP_UNIT")


async def listen(heard: Callable[[Units | None], None]) -> None:
    """A task: call `heard` with the units that spoke, or None where it may be any; at most once in PAUSE.

    A journal that is damaged, or not to be had, is said and tried again later: statuses do without its bell.
    """
    while True:
        try:
            await _follow(heard)
        except OSError as error:
            log.warning("the journal cannot be followed: %s", error.strerror or error)
        await trio.sleep(AGAIN)
        heard(None)


async def _follow(heard: Callable[[Units | None], None]) -> None:
    reader = await trio.to_thread.run_sync(_at_the_end, abandon_on_cancel=True)
    while True:
        await trio.lowlevel.wait_readable(reader.fileno())
        units = await trio.to_thread.run_sync(_new, reader, abandon_on_cancel=True)
        if units is None or units:
            heard(units)
        await trio.sleep(PAUSE)


def _at_the_end() -> Any:
    reader = journal.Reader(journal.LOCAL_ONLY)
    reader.data_threshold = 256  # names of units; the messages are not read here
    reader.fileno()  # from here on changes are noticed
    _to_the_end(reader)
    return reader


def _to_the_end(reader: Any) -> None:
    reader.seek_tail()
    reader.get_previous()  # seek_tail alone stands nowhere until it is moved (sd_journal_seek_tail(3))


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
