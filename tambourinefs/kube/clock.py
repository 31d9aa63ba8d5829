"""How far this host's clock is from the API server's, by the Date of its answers. Nothing of ours depends on it, but the
times of statuses do, and certificates: a person should be told.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from typing import Final

FAR: Final = 300.0  # seconds: what Kerberos and others take for too far
STICKY: Final = (
    30.0  # seconds: a smaller change is none, or the condition would be written again and again
)


class ServerClock:
    """`hear` what every answer says; safe between threads."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        """`clock`: seconds since the epoch."""
        self._clock = clock
        self._offset = 0.0

    def hear(self, date: str | None) -> None:
        """`date`: the header of an answer (RFC 9110, Date); anything else says nothing."""
        if not date:
            return
        try:
            theirs = parsedate_to_datetime(date).timestamp()
        except (ValueError, TypeError, OverflowError):
            return
        offset = self._clock() - theirs
        if abs(offset - self._offset) >= STICKY:
            self._offset = offset

    @property
    def problem(self) -> str:
        """What is wrong with our clock; "" while it is near theirs."""
        if abs(self._offset) < FAR:
            return ""
        minutes = round(abs(self._offset) / 60)
        far = f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"
        way = "ahead of" if self._offset > 0 else "behind"
        return f"this host's clock is {far} {way} the API server's: look at timedatectl"
