"""Text for people is stable: the same columns in a pipe as on a terminal, nothing cut."""

from __future__ import annotations

from datetime import UTC, datetime

import click
import pytest

from tambourinefs.cli.admin.config import toml
from tambourinefs.cli.common.text import Duration, age, table
from tambourinefs.cli.host.logs import GAP, new_lines

NOW = datetime(2026, 1, 10, 12, 0, 0, tzinfo=UTC)


def test_columns_are_aligned_and_nothing_is_cut() -> None:
    long = "a" * 300
    assert table([("NAME", "UNIT", "PID"), ("x", long, ""), ("yyyyy", "u", "1")]) == [
        f"NAME    {'UNIT':300}   PID",
        f"x       {long}   -",
        f"yyyyy   {'u':300}   1",
    ]


@pytest.mark.parametrize(
    ("since", "text"),
    [
        ("2026-01-10T12:00:00Z", "0s"),
        ("2026-01-10T11:58:01Z", "119s"),
        ("2026-01-10T11:58:00Z", "2m"),
        ("2026-01-10T10:00:01Z", "119m"),
        ("2026-01-10T10:00:00Z", "2h"),
        ("2026-01-08T12:00:01Z", "47h"),
        ("2026-01-08T12:00:00Z", "2d"),
        ("2026-01-10T12:00:30Z", "0s"),  # a clock that was set back
        ("", ""),
        ("yesterday", "yesterday"),
    ],
)
def test_ages_read_like_kubectls(since: str, text: str) -> None:
    assert age(since, NOW) == text


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("90s", 90),
        ("2m", 120),
        ("1h30m", 5400),
        ("250ms", 0.25),
        ("1.5s", 1.5),
        ("0", 0),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert Duration().convert(text, None, None) == seconds


@pytest.mark.parametrize("text", ["", "s", "5 minutes", "-1", "1x", "m5", "1h 2m"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match="invalid duration"):
        Duration().convert(text, None, None)


@pytest.mark.parametrize(
    ("known", "now", "new"),
    [
        ([], ["a", "b"], ["a", "b"]),
        (["a", "b"], ["a", "b"], []),
        (["a", "b"], ["b", "c", "d"], ["c", "d"]),
        (["a", "b"], ["a", "b", "c"], ["c"]),
        (["x", "x"], ["x", "x", "x"], ["x"]),
        (["a", "b"], ["y", "z"], [GAP, "y", "z"]),
        (["a", "b"], [], []),
    ],
)
def test_new_lines_of_a_window_that_moves(known: list[str], now: list[str], new: list[str]) -> None:
    assert new_lines(known, now) == new


def test_values_are_toml() -> None:
    import tomllib

    for value in ('a"b\\c\n', 5, True, [], ["x", "y"], [f"unit-{n}.service" for n in range(40)]):
        text = "\n".join(toml(value))
        assert tomllib.loads(f"key = {text}")["key"] == value
