"""The last lines of an invocation, read from journald's files in a thread: neither a frozen
journald nor a slow disk blocks the agent.

A reader is opened for each query: 0.2 ms with 8 MB of journal, and no state that a rotation makes
stale. The lines of a unit are those of add_matches_for_unit() of systemd (src/shared/logs-show.c),
limited to the invocation, in the format of `systemctl status` (journalctl's "short").
"""

from __future__ import annotations

import codecs
import itertools
import logging
import re
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import trio

from systemd import id128, journal  # type: ignore[attr-defined]

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

log: Final = logging.getLogger(__name__)

INVOCATION_FIELDS: Final = (
    "_SYSTEMD_INVOCATION_ID",
    "INVOCATION_ID",
    "OBJECT_SYSTEMD_INVOCATION_ID",
)
# sd-messages.h; a start that takes time is logged twice, one that does not by the second alone.
UNIT_STARTING: Final = "7d4958e842da4a758f6c1cdc7b36dcc5"
UNIT_STARTED: Final = "39f53479d3a045ac8e11786248231fbf"
ENTRIES_MAX: Final = 20_000  # read for one query
COUNT_MAX: Final = 1000  # entries
MESSAGE_MAX: Final = 4096  # bytes of a message; longer ones are cut
LINES_MAX: Final = 4000  # an entry may have many lines
TIME_MAX: Final = 2.0  # seconds for one query
THREADS: Final = 4  # that a dead disk can block

_ANSI: Final = re.compile(r"\x1b\[[0-9;:]*[A-Za-z]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # all but tab and newline


class HostJournal:
    """ports.Journal. `directory`: the journal files, when they are not this host's own; `boot_id`:
    of that host.
    """

    def __init__(
        self, *, directory: Path | None = None, boot_id: str = "", within: float = TIME_MAX
    ) -> None:
        self._directory = directory
        self._boot_id = boot_id
        self._within = within
        self._threads = trio.CapacityLimiter(THREADS)

    async def last_lines(self, unit: str, invocation_id: str, count: int) -> tuple[str, ...]:
        """See ports.Journal."""
        if count <= 0:
            return ()
        lines: list[str] = []
        with trio.move_on_after(self._within):
            try:
                lines = await trio.to_thread.run_sync(
                    self._read,
                    unit,
                    invocation_id,
                    min(count, COUNT_MAX),
                    abandon_on_cancel=True,
                    limiter=self._threads,
                )
            except OSError as error:  # no journal, no right to read it, a damaged file
                log.warning("journal of %s: %s", unit, error)
        return tuple(lines[-LINES_MAX:])

    async def started_since(self, unit: str, monotonic_usec: int) -> str | None:
        """See ports.Journal."""
        with trio.move_on_after(self._within):
            try:
                return await trio.to_thread.run_sync(
                    self._last_start,
                    unit,
                    timedelta(microseconds=monotonic_usec),
                    abandon_on_cancel=True,
                    limiter=self._threads,
                )
            except OSError as error:
                log.warning("journal of %s: %s", unit, error)
        return None

    def _last_start(self, unit: str, since: timedelta) -> str:
        place = {"path": str(self._directory)} if self._directory else {}
        boot_id = self._boot_id or id128.get_boot().hex
        with journal.Reader(**place) as reader:
            for message in (UNIT_STARTING, UNIT_STARTED):
                reader.add_match(f"MESSAGE_ID={message}")
            for field in (f"UNIT={unit}", "_PID=1", f"_BOOT_ID={boot_id}"):
                reader.add_match(field)
            reader.seek_tail()
            entry = reader.get_previous()
        if not entry or entry["__MONOTONIC_TIMESTAMP"].timestamp < since:
            return ""
        return _text(entry, "INVOCATION_ID")

    def _read(self, unit: str, invocation_id: str, count: int) -> list[str]:
        converters = {"_SOURCE_REALTIME_TIMESTAMP": int}
        place = {"path": str(self._directory)} if self._directory else {}
        with journal.Reader(converters=converters, **place) as reader:
            reader.data_threshold = 4 * MESSAGE_MAX  # a hint: what is not compressed comes whole
            _match(reader, unit, invocation_id, self._boot_id or id128.get_boot().hex)
            reader.seek_tail()
            entries = _backwards(reader, time.monotonic() + self._within)
            if invocation_id:
                entries = of_invocation(entries, invocation_id, count)
            newest_first = list(itertools.islice(entries, count))
        return [line for entry in reversed(newest_first) for line in to_lines(entry)]


def _match(reader: Any, unit: str, invocation_id: str, boot_id: str) -> None:
    # journald sets the fields with an underscore; of the others only root's and PID 1's count.
    matches = [
        (f"_SYSTEMD_UNIT={unit}",),
        (f"UNIT={unit}", "_PID=1"),
        (f"OBJECT_SYSTEMD_UNIT={unit}", "_UID=0"),
    ]
    if invocation_id:  # the name may be an alias; and by invocation it is found faster
        matches += [
            (f"_SYSTEMD_INVOCATION_ID={invocation_id}",),
            (f"INVOCATION_ID={invocation_id}", "_PID=1"),
        ]
    for number, fields in enumerate(matches):
        if number:
            reader.add_disjunction()
        for field in (*fields, f"_BOOT_ID={boot_id}"):
            reader.add_match(field)


def _backwards(reader: Any, deadline: float) -> Iterator[dict[str, Any]]:
    for _ in range(ENTRIES_MAX):
        entry = reader.get_previous()
        if not entry or time.monotonic() > deadline:
            return
        yield entry


def of_invocation(
    newest_first: Iterable[dict[str, Any]], invocation_id: str, count: int
) -> Iterator[dict[str, Any]]:
    """The entries of a unit that belong to one invocation; pure. `count` bounds what is held back.

    journald may not know the invocation of a process that has just exited. Such an entry belongs to
    the invocation on both sides of it, or to the last one: PID 1, whose entries always have it,
    writes the first entry of each.
    """
    unmarked: list[dict[str, Any]] = []
    found = False
    for entry in newest_first:
        marks = {_text(entry, field) for field in INVOCATION_FIELDS} - {""}
        if not marks:
            unmarked = [*unmarked, entry][:count]
        elif invocation_id in marks:
            yield from unmarked
            yield entry
            unmarked, found = [], True
        elif found:
            return
        else:
            unmarked = []


def to_lines(entry: dict[str, Any]) -> list[str]:
    """An entry in journalctl's short format; pure but for the time zone."""
    local = entry["__REALTIME_TIMESTAMP"].timetuple()
    if isinstance(stamp := entry.get("_SOURCE_REALTIME_TIMESTAMP"), int):
        local = time.localtime(stamp // 1_000_000)
    source = _text(entry, "SYSLOG_IDENTIFIER") or _text(entry, "_COMM") or "unknown"
    pid = _text(entry, "_PID") or _text(entry, "SYSLOG_PID")
    host = _text(entry, "_HOSTNAME")
    prefix = f"{time.strftime('%b %d %H:%M:%S', local)} {host}{' ' if host else ''}{source}{f'[{pid}]' if pid else ''}: "
    first, *rest = _message(entry.get("MESSAGE", "")).split("\n")
    return [prefix + first, *(" " * len(prefix) + line for line in rest)]


def _text(entry: dict[str, Any], name: str) -> str:
    value = entry.get(name, "")
    if isinstance(value, list):
        value = value[0]
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _message(value: Any) -> str:
    """A message as journalctl prints it, at most MESSAGE_MAX; of a binary one its size."""
    if isinstance(value, list):
        value = value[0]
    whole = value.encode(errors="surrogateescape") if isinstance(value, str) else bytes(value)
    cut = len(whole) > MESSAGE_MAX
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(whole[:MESSAGE_MAX], final=not cut)
    except UnicodeDecodeError:
        return f"[{len(whole)}B blob data]"
    text = _ANSI.sub("", text).replace("\t", "        ").rstrip()
    if _CONTROL.search(text):
        return f"[{len(whole)}B blob data]"
    return text + "…" if cut else text
