"""How far this host's clock is from the API server's, by the Date header of its answers.

No decision depends on it, but the times in statuses and the validity of certificates do, so it becomes a condition.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from typing import Final

MAX_SKEW: Final = 300.0  # seconds, as Kerberos allows (krb5.conf: clockskew)
HYSTERESIS: Final = 30.0  # seconds: a smaller change would only rewrite the condition


class ServerClock:
    """Give `observe` the Date of every answer. Safe between threads."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        """`clock`: seconds since the epoch."""
        self._clock = clock
        self._offset = 0.0

    def observe(self, date: str | None) -> None:
        """`date`: the Date header (RFC 9110); anything else is ignored."""
        if not date:
            return
        try:
            server = parsedate_to_datetime(date).timestamp()
        except (ValueError, TypeError, OverflowError):
            return
        offset = self._clock() - server
        if abs(offset - self._offset) >= HYSTERESIS:
            self._offset = offset

    @property
    def problem(self) -> str:
        """The skew in words; "" while it is at most MAX_SKEW."""
        if abs(self._offset) < MAX_SKEW:
            return ""
        minutes = round(abs(self._offset) / 60)
        skew = f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"
        way = "ahead of" if self._offset > 0 else "behind"
        return (
            f"this host's clock is {skew} {way} the API server's: check `timedatectl` on the host"
        )
