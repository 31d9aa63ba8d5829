"""Ages, dates and spans at every boundary where systemd changes its words."""

from __future__ import annotations

import zoneinfo
from datetime import UTC

import pytest

from tambourinefs.procfs.render.times import (
    DAY,
    FORMATTABLE_MAX,
    HOUR,
    INFINITY,
    MINUTE,
    MONTH,
    MSEC,
    SECOND,
    WEEK,
    YEAR,
    Moment,
    next_elapse,
    relative,
    rfc3339,
    timespan,
    timestamp,
)

NOW = 1_795_386_612 * SECOND


@pytest.mark.parametrize(
    ("distance", "words"),
    [
        (1, "1us"),
        (MSEC - 1, "999us"),
        (MSEC, "1ms"),
        (SECOND - 1, "999ms"),
        (SECOND, "1s"),
        (MINUTE - 1, "59s"),
        (MINUTE, "1min 0s"),
        (5 * MINUTE - 1, "4min 59s"),
        (5 * MINUTE, "5min"),
        (HOUR - 1, "59min"),
        (HOUR, "1h 0min"),
        (6 * HOUR - 1, "5h 59min"),
        (6 * HOUR, "6h"),
        (DAY, "24h"),
        (25 * HOUR - 1, "24h"),
        (25 * HOUR, "1 day 1h"),
        (2 * DAY - 1, "1 day 23h"),
        (2 * DAY, "2 days"),
        (WEEK - 1, "6 days"),
        (WEEK, "1 week 0 days"),
        (WEEK + DAY, "1 week 1 day"),
        (2 * WEEK + 2 * DAY, "2 weeks 2 days"),
        (MONTH - 1, "4 weeks 2 days"),
        (MONTH, "1 month 0 days"),
        (2 * MONTH + DAY, "2 months 1 day"),
        (YEAR - 1, "11 months 30 days"),
        (YEAR, "1 year 0 months"),
        (2 * YEAR + MONTH, "2 years 1 month"),
    ],
)
def test_ages(distance: int, words: str) -> None:
    assert relative(NOW - distance, NOW) == f"{words} ago"
    assert relative(NOW + distance, NOW) == f"{words} left"


@pytest.mark.parametrize(("usec", "words"), [(NOW, "now"), (0, "n/a"), (INFINITY, "n/a")])
def test_ages_of_no_distance(usec: int, words: str) -> None:
    assert relative(usec, NOW) == words


@pytest.mark.parametrize(
    ("zone", "usec", "text"),
    [
        ("UTC", NOW + 999_999, "Sun 2026-11-22 22:30:12 UTC"),
        ("America/Los_Angeles", 1_614_980_291 * SECOND, "Fri 2021-03-05 13:38:11 PST"),
        ("America/Los_Angeles", 1_625_000_000 * SECOND, "Tue 2021-06-29 13:53:20 PDT"),
        ("Europe/Berlin", 1_635_641_999 * SECOND, "Sun 2021-10-31 02:59:59 CEST"),
        ("Europe/Berlin", 1_635_642_000 * SECOND, "Sun 2021-10-31 02:00:00 CET"),
        ("Asia/Kathmandu", NOW, "Mon 2026-11-23 04:15:12 +0545"),
        ("UTC", 1, "Thu 1970-01-01 00:00:00 UTC"),
        ("UTC", FORMATTABLE_MAX, "Thu 9999-12-30 23:59:59 UTC"),
        ("UTC", FORMATTABLE_MAX + 1, "--- XXXX-XX-XX XX:XX:XX"),
        ("UTC", 0, "n/a"),
        ("UTC", INFINITY, "n/a"),
    ],
)
def test_dates(zone: str, usec: int, text: str) -> None:
    assert timestamp(usec, zoneinfo.ZoneInfo(zone)) == text


@pytest.mark.parametrize(
    ("usec", "accuracy", "text"),
    [
        (0, 1, "0"),
        (INFINITY, 1, "infinity"),
        (1, 1, "1us"),
        (999, MSEC, "999us"),
        (1_500, 1, "1.500ms"),
        (1_500, MSEC, "1ms"),
        (59_999, 1, "59.999ms"),
        (1_500_000, 1, "1.500000s"),
        (1_500_000, MSEC, "1.500s"),
        (1_000_001, MSEC, "1.000s"),
        (59_999_999, MSEC, "59.999s"),
        (MINUTE, MSEC, "1min"),
        (MINUTE + 1, MSEC, "1min"),
        (MINUTE + SECOND + 5 * MSEC, MSEC, "1min 1.005s"),
        (HOUR + SECOND, MSEC, "1h 1s"),
        (DAY + HOUR + MINUTE + SECOND, 1, "1d 1h 1min 1s"),
        (YEAR + MONTH + WEEK + DAY, 1, "1y 1month 1w 1d"),
    ],
)
def test_spans(usec: int, accuracy: int, text: str) -> None:
    assert timespan(usec, accuracy) == text


@pytest.mark.parametrize(
    ("realtime", "monotonic", "expected"),
    [
        (None, None, 0),
        (NOW + HOUR, None, NOW + HOUR),
        (None, 5 * HOUR, NOW + 4 * HOUR),  # monotonic is at one hour now
        (None, MINUTE, NOW + MINUTE - HOUR),
        (NOW + HOUR, 5 * HOUR, NOW + HOUR),
        (NOW + 9 * HOUR, 5 * HOUR, NOW + 4 * HOUR),
        (0, INFINITY, 0),
    ],
)
def test_a_timer_elapses_at_the_earlier_of_both_clocks(
    realtime: int | None, monotonic: int | None, expected: int
) -> None:
    assert next_elapse(Moment(NOW, HOUR, UTC), realtime, monotonic) == expected


def test_rfc3339() -> None:
    assert rfc3339(NOW + 123_456) == "2026-11-22T22:30:12Z"
    assert rfc3339(NOW + 123_456, digits=3) == "2026-11-22T22:30:12.123Z"
    assert rfc3339(0) == ""
