"""`events.log`: what changed, numbered, kept for a while; each open descriptor reads it at its own
pace.

A line is `SEQUENCE TIME NAMESPACE/NAME WHAT`. Numbers rise by one from 1 in the life of the agent.
A reader that is too slow finds `missed A-B` (both included) in place of what was dropped; one that
never reads costs nothing.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from tambourinefs.model.names import printable
from tambourinefs.procfs.render import values
from tambourinefs.procfs.render.times import rfc3339

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tambourinefs.model.status import LastCommand
    from tambourinefs.model.view import ServiceView

KEEP: Final = 8192  # events
_KEEP_BYTES: Final = 4 << 20
_MAX_TEXT: Final = 512  # characters of one event


class EventLog:
    """The last events, oldest first.

    An event is visible up to `shown`: once the kernel has dropped the values that it makes old, so
    that a reader who reads the changed file after the event finds the change.
    """

    def __init__(self, keep: int = KEEP) -> None:
        self._lines: deque[bytes] = deque()
        self._keep = keep
        self._bytes = 0
        self.last = 0  # the newest event's number
        self.shown = 0  # the newest one that readers may see

    @property
    def first(self) -> int:
        """The oldest kept event's number."""
        return self.last - len(self._lines) + 1

    def add(self, usec: int, service: str, text: str) -> None:
        """Append one event; `text` and `service` have no control characters."""
        self.last += 1
        line = f"{self.last} {rfc3339(usec, digits=6)} {service} {text}\n".encode()
        self._lines.append(line)
        self._bytes += len(line)
        while len(self._lines) > self._keep or self._bytes > _KEEP_BYTES:
            self._bytes -= len(self._lines.popleft())

    def line(self, number: int) -> bytes:
        """The line of a kept event."""
        return self._lines[number - self.first]


class EventReader:
    """One open descriptor: where it is in the log, and what it was given last."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._seen = log.shown
        self._next = log.first
        self._offset = 0  # of the next byte, in this descriptor's own stream
        self._rest = b""  # the end of a line that did not fit
        self._given = b""

    @property
    def ready(self) -> bool:
        """Whether a read returns anything."""
        return bool(self._rest) or self._next <= self._log.shown

    @property
    def outdated(self) -> bool:
        """Whether the log has more than at the last read, or, before the first, than when it was
        opened.
        """
        return self._log.shown > self._seen

    def read(self, offset: int, size: int) -> bytes:
        """At most `size` bytes; b"" when all was read.

        The kernel asks again for the offset of a read that a signal interrupted: it gets the same
        bytes.
        """
        if offset == self._offset - len(self._given) and offset != self._offset:
            return self._given[:size]
        self._seen = self._log.shown
        self._given = self._take(size)
        self._offset += len(self._given)
        return self._given

    def _take(self, size: int) -> bytes:
        parts = [self._rest] if self._rest else []
        length = len(self._rest)
        while length < size and self._next <= self._log.shown:
            parts.append(self._advance())
            length += len(parts[-1])
        whole = b"".join(parts)
        self._rest = whole[size:]
        return whole[:size]

    def _advance(self) -> bytes:
        first = self._log.first
        if self._next < first:
            missed, self._next = self._next, first
            return f"missed {missed}-{first - 1}\n".encode()
        self._next += 1
        return self._log.line(self._next - 1)


def changes(old: ServiceView | None, new: ServiceView | None) -> Iterator[str]:
    """One text for each change, `WHAT OLD -> NEW`, causes first; none for a change of ages, numbers
    or log lines.
    """
    if new is None:
        yield "removed"
        return
    if old is None:
        yield "added"
    before, after = _states(old) if old else {}, _states(new)
    for name in {**before, **after}:
        was, now = before.get(name, ""), after.get(name, "")
        if was != now:
            yield printable(f"{name} {was or '-'} -> {now or '-'}")[:_MAX_TEXT]


def _states(view: ServiceView) -> dict[str, str]:
    """What is worth an event, by name."""
    states = {
        "generation": f"{view.generation}",
        "observed-generation": f"{view.observed_generation}",
    }
    if view.unit is not None:
        states |= {
            "loaded": values.loaded(view.unit),
            "active": values.state(view.unit),
            "pid": f"{view.unit.main_pid}" if view.unit.main_pid else "",
            "restarts": f"{view.unit.n_restarts}" if view.unit.n_restarts else "",
        }
    for condition in view.conditions:
        states[condition.type] = f"{condition.status} {condition.reason}"
    states["command"] = _command(view.last_command)
    return states


def _command(command: LastCommand | None) -> str:
    return f"{command.command} {command.command_id} {command.result}".strip() if command else ""
