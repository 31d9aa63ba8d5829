"""Times as systemd prints them: dates in a time zone, ages, spans. Pure.

Source of the rules: format_timestamp_style(), format_timestamp_relative() and format_timespan() of
systemd 252 (src/basic/time-util.c), compared with `systemd-analyze timestamp` and `timespan` by the
tests. All times are microseconds; of CLOCK_REALTIME where nothing else is said. Unset is 0 (never)
or None (infinity).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final

MSEC: Final = 1_000
SECOND: Final = 1_000_000
MINUTE: Final = 60 * SECOND
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR
WEEK: Final = 7 * DAY
MONTH: Final = 2_629_800 * SECOND  # systemd's: a twelfth of its year
YEAR: Final = 31_557_600 * SECOND

INFINITY: Final = (1 << 64) - 1
# USEC_TIMESTAMP_FORMATTABLE_MAX: 9999-12-30 23:59:59 UTC.
FORMATTABLE_MAX: Final = 253_402_214_399 * SECOND

_WEEKDAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Moment:
    """When something is rendered: both clocks, read together, and the host's time zone."""

    realtime: int  # microseconds
    monotonic: int  # microseconds
    zone: tzinfo = UTC


def is_set(usec: int | None) -> bool:
    """Whether this is a time at all: neither never (0) nor infinity."""
    return usec is not None and 0 < usec < INFINITY


def timestamp(usec: int, zone: tzinfo) -> str:
    """`Fri 2021-03-05 13:38:11 PST`: English whatever the locale, seconds rounded down. "n/a" where
    it is unset.
    """
    if not is_set(usec):
        return "n/a"
    if usec > FORMATTABLE_MAX:
        return "--- XXXX-XX-XX XX:XX:XX"
    try:
        at = (_EPOCH + timedelta(seconds=usec // SECOND)).astimezone(zone)
    except OverflowError:  # a zone east of UTC on the last formattable day
        return "--- XXXX-XX-XX XX:XX:XX"
    name = at.tzname()
    return f"{_WEEKDAYS[at.weekday()]} {at:%Y-%m-%d %H:%M:%S}{' ' + name if name else ''}"


def rfc3339(usec: int, *, digits: int = 0) -> str:
    """`2021-03-05T21:38:11Z`, rounded down; `digits` (0, 3 or 6) of the second's fraction. "" where
    it is unset.
    """
    if not is_set(usec) or usec > FORMATTABLE_MAX:
        return ""
    at = _EPOCH + timedelta(seconds=usec // SECOND)
    fraction = f".{usec % SECOND:06d}"[: digits + 1] if digits else ""
    return f"{at:%Y-%m-%dT%H:%M:%S}{fraction}Z"


def relative(usec: int, now: int) -> str:
    """`1 day 21h ago`, or `… left` of a time to come: two units at most, each rounded down."""
    if not is_set(usec):
        return "n/a"
    distance = abs(now - usec)
    if distance == 0:
        return "now"
    return _distance(distance) + (" ago" if now > usec else " left")


def _distance(d: int) -> str:
    """The length of a time as format_timestamp_relative words it; the odd thresholds are systemd's."""
    if d >= YEAR:
        return f"{_count(d // YEAR, 'year')} {_count(d % YEAR // MONTH, 'month')}"
    if d >= MONTH:
        return f"{_count(d // MONTH, 'month')} {_count(d % MONTH // DAY, 'day')}"
    if d >= WEEK:
        return f"{_count(d // WEEK, 'week')} {_count(d % WEEK // DAY, 'day')}"
    if d >= 2 * DAY:
        return f"{d // DAY} days"
    if d >= 25 * HOUR:
        return f"1 day {(d - DAY) // HOUR}h"
    if d >= 6 * HOUR:
        return f"{d // HOUR}h"
    if d >= HOUR:
        return f"{d // HOUR}h {d % HOUR // MINUTE}min"
    if d >= 5 * MINUTE:
        return f"{d // MINUTE}min"
    if d >= MINUTE:
        return f"{d // MINUTE}min {d % MINUTE // SECOND}s"
    if d >= SECOND:
        return f"{d // SECOND}s"
    if d >= MSEC:
        return f"{d // MSEC}ms"
    return f"{d}us"


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


_SPANS: Final = (
    ("y", YEAR),
    ("month", MONTH),
    ("w", WEEK),
    ("d", DAY),
    ("h", HOUR),
    ("min", MINUTE),
    ("s", SECOND),
    ("ms", MSEC),
    ("us", 1),
)


def timespan(usec: int, accuracy: int = 1) -> str:
    """`1d 1h 1min 1s`, `3.250s`; what is smaller than `accuracy` (a power of ten of microseconds)
    is left out.
    """
    if usec >= INFINITY:
        return "infinity"
    if usec <= 0:
        return "0"
    parts: list[str] = []
    rest = usec
    for suffix, size in _SPANS:
        if rest <= 0 or (rest < accuracy and parts):
            break
        if rest < size:
            continue
        whole, below = divmod(rest, size)
        dotted = _dotted(whole, below, size, accuracy) if rest < MINUTE and below else None
        if dotted is not None:
            parts.append(dotted + suffix)
            break
        parts.append(f"{whole}{suffix}")
        rest = below
    return " ".join(parts)


def _dotted(whole: int, below: int, size: int, accuracy: int) -> str | None:
    """`whole.below` with as many digits as `accuracy` leaves of `size`; None where it leaves none."""
    digits = len(str(size)) - 1
    cut = len(str(accuracy)) - 1
    if digits <= cut:
        return None
    return f"{whole}.{below // 10**cut:0{digits - cut}d}"


def next_elapse(now: Moment, realtime: int | None, monotonic: int | None) -> int:
    """When a timer elapses next, in CLOCK_REALTIME; 0 where it does not (calc_next_elapse() of
    systemctl).
    """
    calendar = realtime if realtime is not None and is_set(realtime) else 0
    if monotonic is None or not is_set(monotonic):
        return calendar
    converted = max(now.realtime + monotonic - now.monotonic, 0)
    return min(converted, calendar) if calendar else converted
